/**
 * Arbitrary text and URLs for properties. fast-check's own `unit: 'binary'`, and its URLs, which use it, first make a table of all characters:
 * 0.8 s of processor in every file that asks for them.
 */
import fc from 'fast-check'

const codePoint = fc
  .oneof(fc.integer({ min: 0, max: 0x7f }), fc.integer({ min: 0, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }))
  .map(c => String.fromCodePoint(c))

/** Any Unicode text, a third of it ASCII; no lone surrogates. @param maxLength in code points */
export const anyText = (maxLength?: number): fc.Arbitrary<string> =>
  fc.string({ unit: codePoint, ...(maxLength === undefined ? {} : { maxLength }) })

const word = fc.stringMatching(/^[A-Za-z0-9._~!$&'()*+,;=:@-]{0,8}$/)
const escaped = fc.oneof(
  word,
  anyText(6).map(t => encodeURIComponent(t))
)

/** An absolute http: or https: URL of a host name, mostly with a path and a query. */
export const anyUrl: fc.Arbitrary<string> = fc
  .record({
    scheme: fc.constantFrom('http', 'https'),
    host: fc.domain(),
    path: fc.array(escaped, { maxLength: 4 }).map(parts => parts.map(p => `/${p}`).join('')),
    query: fc.oneof(
      fc.constant(''),
      escaped.map(q => `?${q}`)
    )
  })
  .map(u => `${u.scheme}://${u.host}${u.path}${u.query}`)
