/** Strict JSON, for what is signed: see the tests of this file for what JSON.parse would let through (threats SM1-SM7). */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export type JsonObject = { readonly [key: string]: Json }
