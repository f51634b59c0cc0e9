# SPDX-License-Identifier: MIT OR Apache-2.0
"""TLS 1.3 peer on the OpenSSL inside pyOpenSSL: ROLE PORT SUITE CERT KEY OURS; brainpool only, mutual authentication."""
import socket
import sys

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

role, port, suite, cert, key, ours = sys.argv[1:]
lib = Binding().lib
context = SSL.Context(SSL.TLS_METHOD)
context.set_min_proto_version(SSL.TLS1_3_VERSION)
context.set_max_proto_version(SSL.TLS1_3_VERSION)
context.set_tls13_ciphersuites(suite.encode())
assert lib.SSL_CTX_set1_curves_list(context._context, b"brainpoolP256r1tls13:brainpoolP256r1") == 1
assert lib.SSL_CTX_set1_sigalgs_list(context._context, b"ecdsa_brainpoolP256r1tls13_sha256") == 1
context.use_certificate_file(cert)
context.use_privatekey_file(key)
context.load_verify_locations(ours)
context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda _c, _x, _e, _d, ok: bool(ok))
if role == "server":
    listener = socket.socket()
    listener.settimeout(20)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    print("ACCEPT 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    stream, _ = listener.accept()
else:
    stream = socket.create_connection(("127.0.0.1", int(port)), 20)
# pyOpenSSL wants a blocking socket; the kernel keeps the deadline.
stream.settimeout(None)
stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\x14" + b"\0" * 15)
tls = SSL.Connection(context, stream)
if role == "server":
    tls.set_accept_state()
else:
    tls.set_tlsext_host_name(b"gateway.example")
    tls.set_connect_state()
tls.do_handshake()
print(SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(), tls.get_protocol_version_name(), tls.get_cipher_name(),
      tls.get_group_name(), tls.get_peer_certificate().to_cryptography().subject.rfc4514_string(), flush=True)
if role == "server":
    tls.sendall(tls.recv(5)[:4][::-1] + b"\n")
else:
    tls.sendall(b"ping\n")
    print(tls.recv(5).decode(), flush=True)
tls.shutdown()
