package noise

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ellswift"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
)

// validity is how long the certificates of Respond hold.
const validity = time.Hour

// signedSize is how much of a certificate's message is signed: all before the signature.
const signedSize = certificateSize - schnorr.SignatureSize

// Certificate is the responder's, made of SIGNATURE_NOISE_MESSAGE and its static key (specification, 4.5.3).
type Certificate struct {
	// Version is that of the certificate's format; the reference implementation knows 0 alone.
	Version uint16
	// ValidFrom and NotValidAfter are in UTC, to the second, up to the year 2106.
	ValidFrom, NotValidAfter time.Time
	// ServerKey is the responder's static key. The encoding of a key is not unique: another one may be the same key.
	ServerKey [KeySize]byte
	// Signature is the authority's, as in BIP 340.
	Signature [schnorr.SignatureSize]byte

	signed [signedSize]byte
}

// parseCertificate reads SIGNATURE_NOISE_MESSAGE: version U16, valid_from U32, not_valid_after U32 (all little-endian),
// signature.
func parseCertificate(message [certificateSize]byte, server [KeySize]byte) Certificate {
	unix := func(b []byte) time.Time { return time.Unix(int64(binary.LittleEndian.Uint32(b)), 0).UTC() }
	return Certificate{
		Version:       binary.LittleEndian.Uint16(message[:]),
		ValidFrom:     unix(message[2:]),
		NotValidAfter: unix(message[6:]),
		ServerKey:     server,
		Signature:     [schnorr.SignatureSize]byte(message[signedSize:]),
		signed:        [signedSize]byte(message[:]),
	}
}

// Verify checks that the authority signed the certificate; ErrSignature tells that it did not. The time is left to the
// caller.
func (c Certificate) Verify(authority [AuthoritySize]byte) error {
	key, err := schnorr.ParsePubKey(authority[:])
	if err != nil {
		return fmt.Errorf("authority's key: %w", err)
	}
	signature, err := schnorr.ParseSignature(c.Signature[:])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	hash, err := signedHash(c.signed, c.ServerKey)
	if err != nil {
		return err
	}
	if !signature.Verify(hash[:], key) {
		return ErrSignature
	}
	return nil
}

// signedHash is what is signed: the hash of version, validity and the X coordinate of the server's key.
func signedHash(signed [signedSize]byte, server [KeySize]byte) ([sha256.Size]byte, error) {
	var u, t btcec.FieldVal
	u.SetByteSlice(server[:32])
	t.SetByteSlice(server[32:])
	x, err := ellswift.XSwiftEC(u.Normalize(), t.Normalize())
	if err != nil { // every 64 bytes are a point of the curve
		return [sha256.Size]byte{}, fmt.Errorf("decode server's key: %w", err)
	}
	return sha256.Sum256(append(signed[:], x.Bytes()[:]...)), nil
}

// sign makes SIGNATURE_NOISE_MESSAGE.
func (a *Authority) sign(server [KeySize]byte, now time.Time) (message [certificateSize]byte, err error) {
	binary.LittleEndian.PutUint32(message[2:], uint32(now.Unix()))
	binary.LittleEndian.PutUint32(message[6:], uint32(now.Add(validity).Unix()))
	hash, err := signedHash([signedSize]byte(message[:]), server)
	if err != nil {
		return message, err
	}
	signature, err := schnorr.Sign(a.secret, hash[:])
	if err != nil {
		return message, fmt.Errorf("sign certificate: %w", err)
	}
	copy(message[signedSize:], signature.Serialize())
	return message, nil
}
