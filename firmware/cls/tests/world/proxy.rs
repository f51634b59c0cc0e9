// SPDX-License-Identifier: MIT OR Apache-2.0
//! A proxy and the participant behind it in one, in memory: rustls with the gateway's profile behind SOCKS-TLS frames.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;

use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_pki::{CertificateRequest, self_signed};
use hsm_soft::SoftModule;
use hsm_tls::{Identity, PinnedPeers, TlsProfile, client_config, server_config};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig, ServerConnection};
use smgw_cls::command::Report;
use smgw_socks::stream::SocksTlsStream;
use smgw_socks::{Address, FrameState, Greeting, Method, MethodChoice, Request};

/// Key and certificate of a gateway.
pub struct Gateway {
    module: Arc<dyn SecurityModule>,
    identity: Identity,
}

impl Gateway {
    pub fn new(curve: Curve) -> Self {
        let module: Arc<dyn SecurityModule> = Arc::new(SoftModule::new());
        let key = KeyId::from("gateway");
        module.generate_key(&key, curve, KeyUsage::Sign).unwrap();
        let chain = vec![self_signed(&*module, &key, &CertificateRequest::new("gateway")).unwrap()];
        let identity = Identity { key, chain };
        Self { module, identity }
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.identity.chain[0]
    }

    /// TLS towards a participant.
    pub fn towards(&self, participant: &CertificateDer<'static>) -> Arc<ClientConfig> {
        let profile = TlsProfile::smgw_wan_client();
        let peers = PinnedPeers::new([participant.clone()]);
        client_config(
            self.module.clone(),
            &profile,
            Some(self.identity.clone()),
            peers,
        )
        .unwrap()
    }

    /// TLS towards one device.
    pub fn config(&self, device: &[u8], profile: &TlsProfile) -> Arc<ServerConfig> {
        let device = CertificateDer::from(device.to_vec());
        let peers = PinnedPeers::new([device]);
        server_config(self.module.clone(), profile, self.identity.clone(), peers).unwrap()
    }
}

/// What TCP carries.
#[derive(Default)]
pub struct Pipe {
    from: VecDeque<u8>,
    pub to: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.from.is_empty() {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => self.from.read(out),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.to.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One connection.
pub struct Connection {
    frames: SocksTlsStream<Pipe>,
    tls: ServerConnection,
    code: u8,
    greeted: bool,
    plain: Vec<u8>,
    /// The name asked for.
    pub name: Option<Vec<u8>>,
    pub reports: Vec<Report>,
    pub error: Option<rustls::Error>,
    /// Whether the device sent close_notify.
    pub closed: bool,
}

impl Connection {
    /// Answers CONNECT with `code`.
    pub fn new(config: &Arc<ServerConfig>, code: u8) -> Self {
        Self {
            frames: SocksTlsStream::new(Pipe::default()),
            tls: ServerConnection::new(config.clone()).unwrap(),
            code,
            greeted: false,
            plain: Vec::new(),
            name: None,
            reports: Vec::new(),
            error: None,
            closed: false,
        }
    }

    /// Takes octets of the device; what is to be sent waits in [`Self::out`].
    pub fn receive(&mut self, octets: &[u8]) {
        self.frames.inner_mut().from.extend(octets);
        if !self.greeted {
            let pipe = self.frames.inner_mut();
            let Some((greeting, taken)) = Greeting::parse(pipe.from.make_contiguous()).unwrap()
            else {
                return;
            };
            assert_eq!(greeting.methods(), [Method::TLS]);
            pipe.from.drain(..taken);
            pipe.to.extend(MethodChoice(Method::TLS).encode());
            self.greeted = true;
        }
        while self.error.is_none() {
            match self.tls.read_tls(&mut self.frames) {
                Ok(0) => break,
                Ok(_) => match self.tls.process_new_packets() {
                    Ok(state) => {
                        let mut plain = vec![0; state.plaintext_bytes_to_read()];
                        self.tls.reader().read_exact(&mut plain).unwrap();
                        self.plain.extend(plain);
                        self.closed |= state.peer_has_closed();
                    }
                    Err(error) => self.error = Some(error),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("the device's frames are wrong: {error}"),
            }
        }
        self.understand();
        self.flush();
    }

    fn understand(&mut self) {
        if self.name.is_none() {
            let Some((request, taken)) = Request::parse(&self.plain).unwrap() else {
                return;
            };
            self.plain.drain(..taken);
            let Address::Name(name) = request.address else {
                panic!("the device asks for no name");
            };
            self.name = Some(name);
            // BND.ADDR and BND.PORT mean nothing, so these are odd ones.
            self.say(&[5, self.code, 0, 1, 255, 255, 255, 255, 1, 2]);
        }
        while let Some((report, taken)) = Report::parse(&self.plain).unwrap() {
            self.plain.drain(..taken);
            self.reports.push(report);
        }
    }

    /// Sends plaintext to the device.
    pub fn say(&mut self, plain: &[u8]) {
        self.flush();
        self.frames.state_handle().set(FrameState::Data);
        self.tls.writer().write_all(plain).unwrap();
        self.flush();
    }

    /// The closing handshake's first half.
    pub fn close(&mut self) {
        self.flush();
        self.frames.state_handle().set(FrameState::Closing);
        self.tls.send_close_notify();
        self.flush();
    }

    fn flush(&mut self) {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.frames).unwrap();
        }
    }

    /// Octets for the device.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.frames.inner_mut().to
    }

    pub fn version(&self) -> Option<rustls::ProtocolVersion> {
        self.tls.protocol_version()
    }
}
