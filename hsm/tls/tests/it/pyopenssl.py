# SPDX-License-Identifier: MIT OR Apache-2.0
"""TLS 1.3 peer on the OpenSSL inside pyOpenSSL, for many connections one after the other.

Each line of standard input is one JSON order {role, port, suite, groups, cert, key, ours}; each line of standard output
one JSON answer: {port} once a server listens, and {version, suite, group, peer} or {error} at the end. Both roles
authenticate. A server sends every line back reversed; a client is told its lines in `lines` and checks the answers.
"""
import json
import socket
import sys

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

LIB = Binding().lib
SCHEMES = b":".join([b"ecdsa_brainpoolP256r1tls13_sha256", b"ecdsa_brainpoolP384r1tls13_sha384",
                     b"ecdsa_brainpoolP512r1tls13_sha512", b"ecdsa_secp256r1_sha256", b"ecdsa_secp384r1_sha384"])
DEADLINE = 20


def say(**answer):
    print(json.dumps(answer), flush=True)


def context(order):
    made = SSL.Context(SSL.TLS_METHOD)
    made.set_min_proto_version(SSL.TLS1_3_VERSION)
    made.set_max_proto_version(SSL.TLS1_3_VERSION)
    made.set_tls13_ciphersuites(order["suite"].encode())
    assert LIB.SSL_CTX_set1_curves_list(made._context, order["groups"].encode()) == 1
    assert LIB.SSL_CTX_set1_sigalgs_list(made._context, order.get("schemes", "").encode() or SCHEMES) == 1
    made.use_certificate_chain_file(order["cert"])
    made.use_privatekey_file(order["key"])
    made.load_verify_locations(order["ours"])
    made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda _c, _x, _e, _d, ok: bool(ok))
    return made


def connect(order):
    if order["role"] == "client":
        return socket.create_connection(("127.0.0.1", order["port"]), DEADLINE)
    with socket.socket() as listener:
        listener.settimeout(DEADLINE)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        say(port=listener.getsockname()[1])
        return listener.accept()[0]


class Lines:
    def __init__(self, tls):
        self.tls, self.rest = tls, b""

    def read(self):
        while b"\n" not in self.rest:
            try:
                self.rest += self.tls.recv(16384)
            except SSL.ZeroReturnError:
                return None
        line, self.rest = self.rest.split(b"\n", 1)
        return line


def play(order):
    with connect(order) as stream:
        # pyOpenSSL wants a blocking socket; the kernel keeps the deadline.
        stream.settimeout(None)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes([DEADLINE]) + b"\0" * 15)
        tls = SSL.Connection(context(order), stream)
        if order["role"] == "server":
            tls.set_accept_state()
        else:
            tls.set_tlsext_host_name(b"gateway.example")
            tls.set_connect_state()
        tls.do_handshake()
        lines = Lines(tls)
        if order["role"] == "server":
            while (line := lines.read()) is not None:
                tls.sendall(line[::-1] + b"\n")
        for line in order.get("lines", []):
            tls.sendall(line.encode() + b"\n")
            assert lines.read() == line.encode()[::-1], "the answer is another line"
        say(version=tls.get_protocol_version_name(), suite=tls.get_cipher_name(), group=tls.get_group_name(),
            peer=tls.get_peer_certificate().to_cryptography().subject.rfc4514_string())
        tls.shutdown()


say(library=SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode())
for text in sys.stdin:
    try:
        play(json.loads(text))
    except Exception as error:  # What went wrong is the answer.
        say(error=f"{type(error).__name__}: {error}")
