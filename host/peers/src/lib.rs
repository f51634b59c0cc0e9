//! The other side of every gateway interface: meters, EMT, CLS, HAN client.
