//! Security-module back-end over PKCS#11 (cryptoki).
