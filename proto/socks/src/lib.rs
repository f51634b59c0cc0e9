//! SOCKSv5 with TLS inside SOCKS-TLS frames, the CLS proxy protocol of TR-03109-1 detail specifications section 11.
