// Package noise is the secure channel of Stratum V2: the handshake Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256 from
// both sides, and the frames that are encrypted after it (Stratum V2 specification, 04 Protocol Security). It does no
// I/O.
//
// Who answers act 1 with an act 2 whose two authentication tags check has done the key agreement of this very protocol:
// nothing else does that, and no bytes recorded or made up do. Who it is, is another matter: the certificate is signed by
// the pool's authority, whose public key is told to miners by other ways, so that a stranger can't check the signature.
//
// The arithmetic does not run in constant time. It is meant for keys that are thrown away after one probe.
package noise

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ellswift"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"golang.org/x/crypto/chacha20poly1305"
)

// Sizes in bytes (specification, 4.5).
const (
	// KeySize is the length of a public key in ElligatorSwift encoding. Any bytes of that length are a valid key.
	KeySize = 64
	// TagSize is the length of Poly1305's authentication tag.
	TagSize = chacha20poly1305.Overhead
	// Act1Size is the length of the initiator's message: its ephemeral key.
	Act1Size = KeySize
	// Act2Size is the length of the responder's message: its ephemeral key, then its static key and its certificate, both
	// encrypted. The specification's table says 170, which is from a time of shorter keys.
	Act2Size = KeySize + KeySize + TagSize + certificateSize + TagSize
	// AuthoritySize is the length of an authority's public key: X alone, as in BIP 340.
	AuthoritySize = schnorr.PubKeyBytesLen

	certificateSize = 2 + 4 + 4 + schnorr.SignatureSize
)

// protocolName is the official Noise protocol name (specification, 4.5.1).
const protocolName = "Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256"

// ErrTag is returned for bytes that were not encrypted with the key that was agreed on: the peer does not speak this
// protocol, or somebody changed them.
var ErrTag = errors.New("authentication tag does not check")

// ErrSignature is returned for a certificate that the authority did not sign.
var ErrSignature = errors.New("certificate is not signed by the authority")

// key is a secret with its public key. The encoding is not unique, and goes into the shared secret.
type key struct {
	secret  *btcec.PrivateKey
	encoded [KeySize]byte
}

func newKey() (key, error) {
	secret, encoded, err := ellswift.EllswiftCreate()
	if err != nil {
		return key{}, fmt.Errorf("create key: %w", err)
	}
	return key{secret: secret, encoded: encoded}, nil
}

// agree gives the secret shared with the peer: v2_ecdh of BIP 324.
func (k *key) agree(theirs [KeySize]byte, initiator bool) ([sha256.Size]byte, error) {
	shared, err := ellswift.V2Ecdh(k.secret, theirs, k.encoded, initiator)
	if err != nil { // every 64 bytes are a point of the curve
		return [sha256.Size]byte{}, fmt.Errorf("agree on a secret: %w", err)
	}
	return *shared, nil
}

// state is what both sides keep during the handshake (specification, 4.4.2): the handshake hash, the chaining key, and
// the cipher of the key derived last.
type state struct {
	h, ck [sha256.Size]byte
	c     *direction
}

// begin gives the state before act 1.
func begin() state {
	var s state
	s.ck = sha256.Sum256([]byte(protocolName)) // longer than a hash, hence hashed
	s.h = sha256.Sum256(s.ck[:])
	return s
}

func (s *state) mixHash(data []byte) {
	h := sha256.New()
	h.Write(s.h[:])
	h.Write(data)
	h.Sum(s.h[:0])
}

func (s *state) mixKey(input []byte) error {
	ck, k := derive(s.ck, input)
	c, err := newDirection(k)
	if err != nil {
		return err
	}
	s.ck, s.c = ck, c
	return nil
}

// seal is EncryptAndHash, once there is a key.
func (s *state) seal(dst, plain []byte) ([]byte, error) {
	begin := len(dst)
	dst, err := s.c.seal(dst, plain, s.h[:])
	if err != nil {
		return nil, err
	}
	s.mixHash(dst[begin:])
	return dst, nil
}

// open is DecryptAndHash, once there is a key.
func (s *state) open(record []byte) ([]byte, error) {
	plain, err := s.c.open(record, s.h[:])
	if err != nil {
		return nil, err
	}
	s.mixHash(record)
	return plain, nil
}

// split gives the ciphers for what the initiator says and for what the responder says.
func (s *state) split() (initiator, responder *direction, err error) {
	k1, k2 := derive(s.ck, nil)
	if initiator, err = newDirection(k1); err != nil {
		return nil, nil, err
	}
	if responder, err = newDirection(k2); err != nil {
		return nil, nil, err
	}
	return initiator, responder, nil
}

// derive is HKDF with two outputs as Noise defines it (section 4.3): RFC 5869 without info.
func derive(chaining [sha256.Size]byte, input []byte) (first, second [sha256.Size]byte) {
	mac := func(key []byte, data ...[]byte) (out [sha256.Size]byte) {
		m := hmac.New(sha256.New, key)
		for _, d := range data {
			m.Write(d)
		}
		m.Sum(out[:0])
		return out
	}
	temp := mac(chaining[:], input)
	first = mac(temp[:], []byte{1})
	second = mac(temp[:], first[:], []byte{2})
	return first, second
}

// direction is CipherState (specification, 4.4.1): a key and how often it was used.
type direction struct {
	aead cipher.AEAD
	n    uint64
}

func newDirection(key [sha256.Size]byte) (*direction, error) {
	aead, err := chacha20poly1305.New(key[:])
	if err != nil { // the key has the right length
		return nil, fmt.Errorf("create cipher: %w", err)
	}
	return &direction{aead: aead}, nil
}

// errExhausted ends a connection whose key was used as often as Noise allows, which nobody lives to see.
var errExhausted = errors.New("key was used too often")

// nonce gives 32 zero bits and the counter in little-endian.
func (d *direction) nonce() ([chacha20poly1305.NonceSize]byte, error) {
	var nonce [chacha20poly1305.NonceSize]byte
	if d.n == 1<<64-1 {
		return nonce, errExhausted
	}
	binary.LittleEndian.PutUint64(nonce[4:], d.n)
	return nonce, nil
}

func (d *direction) seal(dst, plain, additional []byte) ([]byte, error) {
	nonce, err := d.nonce()
	if err != nil {
		return nil, err
	}
	d.n++
	return d.aead.Seal(dst, nonce[:], plain, additional), nil
}

func (d *direction) open(record, additional []byte) ([]byte, error) {
	nonce, err := d.nonce()
	if err != nil {
		return nil, err
	}
	plain, err := d.aead.Open(nil, nonce[:], record, additional)
	if err != nil {
		return nil, ErrTag
	}
	d.n++
	return plain, nil
}

// Initiator is the miner's side of one handshake.
type Initiator struct {
	e     key
	state state
}

// NewInitiator begins a handshake with a fresh key. It fails only if the system has no random bytes.
func NewInitiator() (*Initiator, error) {
	e, err := newKey()
	if err != nil {
		return nil, err
	}
	return initiate(e), nil
}

func initiate(e key) *Initiator {
	i := &Initiator{e: e, state: begin()}
	i.state.mixHash(e.encoded[:])
	i.state.mixHash(nil) // the payload, which is empty
	return i
}

// Act1 is what is said first: 64 bytes that look random.
func (i *Initiator) Act1() [Act1Size]byte { return i.e.encoded }

// Finish takes the responder's answer and gives the channel and the responder's certificate. It fails with ErrTag if the
// answer is not one to our act 1. The certificate's signature is not verified: see Certificate.Verify. Finish changes
// nothing, so that it may be called again with another answer.
func (i *Initiator) Finish(act2 [Act2Size]byte) (*Transport, Certificate, error) {
	s := i.state
	rest := act2[:]
	take := func(n int) []byte {
		piece := rest[:n]
		rest = rest[n:]
		return piece
	}
	re := [KeySize]byte(take(KeySize))
	s.mixHash(re[:])
	shared, err := i.e.agree(re, true)
	if err != nil {
		return nil, Certificate{}, err
	}
	if err := s.mixKey(shared[:]); err != nil {
		return nil, Certificate{}, err
	}
	plain, err := s.open(take(KeySize + TagSize))
	if err != nil {
		return nil, Certificate{}, fmt.Errorf("static key: %w", err)
	}
	rs := [KeySize]byte(plain)
	if shared, err = i.e.agree(rs, true); err != nil {
		return nil, Certificate{}, err
	}
	if err := s.mixKey(shared[:]); err != nil {
		return nil, Certificate{}, err
	}
	if plain, err = s.open(take(certificateSize + TagSize)); err != nil {
		return nil, Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	send, receive, err := s.split()
	if err != nil {
		return nil, Certificate{}, err
	}
	return &Transport{send: send, receive: receive}, parseCertificate([certificateSize]byte(plain), rs), nil
}

// Authority signs the certificates of a pool's servers.
type Authority struct{ secret *btcec.PrivateKey }

// NewAuthority makes an authority of a secret, which must be neither zero nor, as a big-endian number, the order of the
// curve or more.
func NewAuthority(secret [32]byte) (*Authority, error) {
	var scalar btcec.ModNScalar
	if overflow := scalar.SetBytes(&secret); overflow != 0 || scalar.IsZero() {
		return nil, errors.New("authority: secret is out of range")
	}
	return &Authority{secret: btcec.PrivKeyFromScalar(&scalar)}, nil
}

// PublicKey is what a miner needs to know to verify certificates.
func (a *Authority) PublicKey() [AuthoritySize]byte {
	return [AuthoritySize]byte(schnorr.SerializePubKey(a.secret.PubKey()))
}

// Respond is the pool's side of a handshake: it answers any act 1. The server's keys are fresh, and their certificate,
// signed by the authority, holds for an hour from now on. It fails only if the system has no random bytes.
func Respond(a *Authority, act1 [Act1Size]byte, now time.Time) (act2 [Act2Size]byte, t *Transport, err error) {
	e, err := newKey()
	if err != nil {
		return act2, nil, err
	}
	static, err := newKey()
	if err != nil {
		return act2, nil, err
	}
	s := begin()
	s.mixHash(act1[:])
	s.mixHash(nil) // the payload, which is empty
	out := append(act2[:0], e.encoded[:]...)
	s.mixHash(e.encoded[:])
	shared, err := e.agree(act1, false)
	if err != nil {
		return act2, nil, err
	}
	if err := s.mixKey(shared[:]); err != nil {
		return act2, nil, err
	}
	if out, err = s.seal(out, static.encoded[:]); err != nil {
		return act2, nil, err
	}
	if shared, err = static.agree(act1, false); err != nil {
		return act2, nil, err
	}
	if err := s.mixKey(shared[:]); err != nil {
		return act2, nil, err
	}
	certificate, err := a.sign(static.encoded, now)
	if err != nil {
		return act2, nil, err
	}
	if _, err = s.seal(out, certificate[:]); err != nil { // out has room for it
		return act2, nil, err
	}
	receive, send, err := s.split()
	if err != nil {
		return act2, nil, err
	}
	return act2, &Transport{send: send, receive: receive}, nil
}
