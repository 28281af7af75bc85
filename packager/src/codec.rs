//! Codec configuration: records, RFC 6381 strings, limits.
