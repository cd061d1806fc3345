/** Preloaded into a node (`node --import`): the native library for WebRTC is not there, as on a machine for which none is built. */
import { registerHooks } from 'node:module'

registerHooks({
  resolve: (name, context, next) => {
    if (name.startsWith('node-datachannel'))
      throw Object.assign(new Error(`Cannot find package '${name}'`), { code: 'ERR_MODULE_NOT_FOUND' })
    return next(name, context)
  }
})
