//! Speaks Stratum V2 with the crates of the reference implementation (SRI), so that Minecanary's own implementation has
//! something to be tested against.
//!
//!     sri respond PROTOCOL                 serve one protocol (0 mining, 1 job declaration, 2 template distribution)
//!     sri initiate ADDRESS AUTHORITY PROTOCOL   ask a server for a protocol; AUTHORITY is its key in hex
//!     sri vector                           print a handshake with fixed keys
//!
//! `respond` prints its address and its authority key, then each SetupConnection, and ends with its standard input.

use std::{
    env,
    error::Error,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    process, thread,
    time::Duration,
};

use binary_sv2::{GetSize, Serialize};
use codec_sv2::{
    Decrypted, Handshake, MessageFrame, NoiseDecoder, NoiseEncoder, SerializedFrame, Transport,
    TransportDecryptState, TransportEncryptState,
};
use common_messages_sv2::{
    Protocol, SetupConnection, SetupConnectionError, SetupConnectionSuccess,
    MESSAGE_TYPE_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION_ERROR,
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS,
};
use noise_sv2::{
    Initiator, Responder, ELLSWIFT_ENCODING_SIZE, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE,
};
use rand::{CryptoRng, RngCore};
use secp256k1::{Keypair, Secp256k1, SecretKey};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The secret of the authority that signs the certificates here. It protects nothing.
const AUTHORITY: [u8; 32] = [7; 32];

/// How long a certificate is valid.
const VALIDITY: Duration = Duration::from_secs(3600);

/// How long a peer may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["respond", protocol] => respond(protocol),
        ["initiate", address, authority, protocol] => initiate(address, authority, protocol),
        ["vector"] => vector(),
        _ => {
            Err("usage: sri respond PROTOCOL | initiate ADDRESS AUTHORITY PROTOCOL | vector".into())
        }
    };
    if let Err(err) = done {
        eprintln!("sri: {err}");
        process::exit(1);
    }
}

/// A connection after the handshake.
struct Peer {
    stream: TcpStream,
    encrypt: TransportEncryptState,
    decrypt: Option<TransportDecryptState>,
    decoder: NoiseDecoder,
    encoder: NoiseEncoder,
}

impl Peer {
    fn new(stream: TcpStream, transport: Transport) -> Self {
        let (encrypt, decrypt) = transport.split();
        Peer {
            stream,
            encrypt,
            decrypt: Some(decrypt),
            decoder: NoiseDecoder::new(),
            encoder: NoiseEncoder::new(),
        }
    }

    fn send<T: Serialize + GetSize>(&mut self, message: T, kind: u8) -> Result<()> {
        let frame = MessageFrame::from_message(message, kind, 0, false).map_err(text)?;
        let bytes = self
            .encoder
            .encode_transport(frame, &mut self.encrypt)
            .map_err(text)?;
        Ok(self.stream.write_all(bytes.as_ref())?)
    }

    fn receive(&mut self) -> Result<SerializedFrame> {
        let mut state = self.decrypt.take().ok_or("the connection is over")?;
        loop {
            match self.decoder.next_transport_frame(state).map_err(text)? {
                Decrypted::Frame(frame, rest) => {
                    self.decrypt = Some(rest);
                    return Ok(frame);
                }
                Decrypted::Incomplete(_, rest) => state = rest,
            }
            self.stream.read_exact(self.decoder.writable())?;
        }
    }
}

fn text<E: std::fmt::Debug>(err: E) -> String {
    format!("{err:?}")
}

/// Serves one protocol until the standard input ends.
fn respond(protocol: &str) -> Result<()> {
    let protocol: u8 = protocol.parse()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let key = Keypair::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&AUTHORITY)?);
    println!(
        "{} {}",
        listener.local_addr()?,
        hex(&key.x_only_public_key().0.serialize())
    );
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                if let Err(err) = serve(stream, protocol, key) {
                    println!("failed: {err}");
                }
            });
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn serve(mut stream: TcpStream, protocol: u8, authority: Keypair) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut act1 = [0; ELLSWIFT_ENCODING_SIZE];
    stream.read_exact(&mut act1)?;
    let responder = Handshake::responder(Responder::new(authority, VALIDITY.as_secs() as u32));
    let (act2, transport) = responder.step_1(act1).map_err(text)?;
    stream.write_all(act2.payload())?;
    let mut peer = Peer::new(stream, transport);
    let mut frame = peer.receive()?;
    let header = frame.header();
    if header.msg_type() != MESSAGE_TYPE_SETUP_CONNECTION || header.ext_type() != 0 {
        return Err(format!("a message of type {}", header.msg_type()).into());
    }
    let setup: SetupConnection = binary_sv2::from_bytes(frame.payload()).map_err(text)?;
    println!("{setup}");
    if setup.protocol as u8 == protocol {
        let version = setup.get_version(2, 2).ok_or("no common version")?;
        peer.send(
            SetupConnectionSuccess {
                used_version: version,
                flags: 0,
            },
            MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS,
        )?;
    } else {
        peer.send(refusal()?, MESSAGE_TYPE_SETUP_CONNECTION_ERROR)?;
    }
    Ok(())
}

fn refusal() -> Result<SetupConnectionError<'static>> {
    let code = b"unsupported-protocol"[..].try_into().map_err(text)?;
    Ok(SetupConnectionError {
        flags: 0,
        error_code: code,
    })
}

/// Connects, verifies the certificate, and asks for a protocol.
fn initiate(address: &str, authority: &str, protocol: &str) -> Result<()> {
    let authority: [u8; 32] = unhex(authority)?
        .try_into()
        .map_err(|_| "the key has 32 bytes")?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let initiator = Handshake::initiator(Initiator::from_raw_k(authority).map_err(text)?);
    let (act1, initiator) = initiator.step_0().map_err(text)?;
    stream.write_all(act1.payload())?;
    let mut act2 = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
    stream.read_exact(&mut act2)?;
    let mut peer = Peer::new(stream, initiator.step_2(act2).map_err(text)?);
    peer.send(setup(protocol.parse()?)?, MESSAGE_TYPE_SETUP_CONNECTION)?;
    let mut frame = peer.receive()?;
    let kind = frame.header().msg_type();
    match kind {
        MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS => {
            let success: SetupConnectionSuccess =
                binary_sv2::from_bytes(frame.payload()).map_err(text)?;
            println!("success {} {}", success.used_version, success.flags);
        }
        MESSAGE_TYPE_SETUP_CONNECTION_ERROR => {
            let error: SetupConnectionError =
                binary_sv2::from_bytes(frame.payload()).map_err(text)?;
            println!(
                "error {} {}",
                error.flags,
                error.error_code.as_utf8_or_hex()
            );
        }
        _ => return Err(format!("a message of type {kind}").into()),
    }
    Ok(())
}

fn setup(protocol: u8) -> Result<SetupConnection<'static>> {
    let string = |s: &'static str| s.as_bytes().try_into().map_err(text);
    Ok(SetupConnection {
        protocol: Protocol::try_from(protocol).map_err(text)?,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: string("127.0.0.1")?,
        endpoint_port: 34254,
        vendor: string("vendor")?,
        hardware_version: string("1")?,
        firmware: string("2")?,
        device_id: string("")?,
    })
}

/// Random bytes that are none, for a vector that is always the same.
struct Fixed(u8);

impl RngCore for Fixed {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }
    fn next_u64(&mut self) -> u64 {
        let mut b = [0; 8];
        self.fill_bytes(&mut b);
        u64::from_le_bytes(b)
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for b in dest {
            self.0 = self.0.wrapping_mul(5).wrapping_add(3);
            *b = self.0;
        }
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> std::result::Result<(), rand::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Fixed {}

/// Prints a whole handshake and one message in each direction, all with fixed keys.
fn vector() -> Result<()> {
    const NOW: u32 = 1_700_000_000;
    // The initiator draws its secret first of all from the same source. It may be used negated: X-only, that is the same.
    let mut secret = [0; 32];
    Fixed(1).fill_bytes(&mut secret);
    let key = Keypair::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&AUTHORITY)?);
    let authority = key.x_only_public_key().0;
    let initiator = Handshake::initiator(Initiator::new_with_rng(Some(authority), &mut Fixed(1)));
    let responder = Handshake::responder(Responder::new_with_rng(
        key,
        VALIDITY.as_secs() as u32,
        &mut Fixed(2),
    ));
    let (first, initiator) = initiator.step_0().map_err(text)?;
    let act1: [u8; ELLSWIFT_ENCODING_SIZE] = first.payload().try_into()?;
    let (second, responder) = responder
        .step_1_with_now_rng(act1, NOW, &mut Fixed(4))
        .map_err(text)?;
    let act2: [u8; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE] = second.payload().try_into()?;
    let (mut to_responder, _) = initiator.step_2_with_now(act2, NOW).map_err(text)?.split();
    let (mut to_initiator, _) = responder.split();
    let question = MessageFrame::from_message(setup(0)?, MESSAGE_TYPE_SETUP_CONNECTION, 0, false)
        .map_err(text)?;
    let answer = MessageFrame::from_message(
        SetupConnectionSuccess {
            used_version: 2,
            flags: 0,
        },
        MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS,
        0,
        false,
    )
    .map_err(text)?;
    let question = NoiseEncoder::new()
        .encode_transport(question, &mut to_responder)
        .map_err(text)?;
    let answer = NoiseEncoder::new()
        .encode_transport(answer, &mut to_initiator)
        .map_err(text)?;
    println!("{{");
    println!("  \"authority\": \"{}\",", hex(&authority.serialize()));
    println!("  \"secret\": \"{}\",", hex(&secret));
    println!("  \"act1\": \"{}\",", hex(&act1));
    println!("  \"act2\": \"{}\",", hex(&act2));
    println!("  \"setup_connection\": \"{}\",", hex(question.as_ref()));
    println!("  \"success\": \"{}\"", hex(answer.as_ref()));
    println!("}}");
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    if text.len() & 1 == 1 || !text.is_ascii() {
        return Err("no hex".into());
    }
    (0..text.len())
        .step_by(2)
        .map(|i| Ok(u8::from_str_radix(&text[i..i + 2], 16)?))
        .collect()
}
