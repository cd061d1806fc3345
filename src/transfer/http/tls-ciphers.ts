/** TLS 1.3 between Kith nodes: all its suites, the fastest first on processors that know AES. */
export const TLS_CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256'
