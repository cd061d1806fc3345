/** In the browser: #crypto there, against the vectors that the test hands over (crypto-browser.test.ts). Bundled with esbuild. */
import * as crypto from '../../src/platform/crypto.browser.ts'
import { type Vectors, type Verdicts, verdictsOf } from '../kits/crypto-verdicts.ts'
import { type SessionFacts, type SessionVectors, sessionFacts } from '../kits/session-facts.ts'

export interface CryptoPage {
  verdicts(vectors: Vectors): Promise<Verdicts>
  facts(vectors: SessionVectors): Promise<SessionFacts>
}

Object.assign(globalThis, { verdicts: (vectors: Vectors) => verdictsOf(crypto, vectors), facts: sessionFacts } satisfies CryptoPage)
