/** Views as they go through the API. */

/** A view as JSON carries it: fields that may be undefined are left out. */
export type Json<V> = V extends readonly (infer U)[]
  ? Json<U>[]
  : V extends object
    ? { [K in keyof V as undefined extends V[K] ? never : K]: Json<V[K]> } & {
        [K in keyof V as undefined extends V[K] ? K : never]?: Json<V[K]>
      }
    : V
