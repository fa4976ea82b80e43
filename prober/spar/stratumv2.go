package spar

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/minecanary/minecanary/prober/noise"
)

// Protocols of Stratum V2 (specification, 3.6.1).
const (
	miningProtocol       = 0
	templateDistribution = 2
)

// Messages of Stratum V2 (specification, 08 Message Types).
const (
	setupConnection        = 0x00
	setupConnectionSuccess = 0x01
	setupConnectionError   = 0x02
)

// authoritySecret signs the certificates of the Stratum V2 servers. Everybody may know it: nothing is mined here.
const authoritySecret = "the canary's own authority, sham"

// AuthorityKey is the public key with which miners verify the Stratum V2 servers' certificates: X alone, as in BIP 340.
// It does not fail as long as the secret is what it is.
func AuthorityKey() ([noise.AuthoritySize]byte, error) {
	a, err := authority()
	if err != nil {
		return [noise.AuthoritySize]byte{}, err
	}
	return a.PublicKey(), nil
}

func authority() (*noise.Authority, error) {
	return noise.NewAuthority([32]byte([]byte(authoritySecret)))
}

// stratumV2 is pool_sv2 of the reference implementation (SRI), or its template provider: any 64 bytes draw act 2, less draw
// nothing; SetupConnection for its own protocol is accepted whatever the flags, any other refused, and then the connection
// ends.
func stratumV2(protocol byte) func(*session) {
	return func(c *session) {
		var act1 [noise.Act1Size]byte
		if _, err := io.ReadFull(c.in, act1[:]); err != nil {
			return
		}
		a, err := authority()
		if err != nil {
			return
		}
		act2, transport, err := noise.Respond(a, act1, time.Now())
		if err != nil || !c.answer(string(act2[:])) {
			return
		}
		buf := make([]byte, 4<<10)
		for {
			frame, ok, err := transport.Next()
			if err != nil {
				return
			}
			if !ok {
				n, err := c.in.Read(buf)
				if err != nil {
					return
				}
				transport.Take(buf[:n])
				continue
			}
			c.countMessage(fmt.Sprintf("stratum-v2 message %#02x", frame.Type))
			// Other messages are of channels, of which there are none.
			if frame.Type != setupConnection || frame.Extension != 0 {
				return
			}
			answer, accepted := answerSetup(protocol, frame.Payload)
			sealed, err := transport.Seal(answer)
			if err != nil || !c.send(string(sealed)) || !accepted {
				return
			}
		}
	}
}

// answerSetup answers SetupConnection, of which only protocol and versions are looked at.
func answerSetup(protocol byte, payload []byte) (answer noise.Frame, accepted bool) {
	const version = 2
	switch {
	case len(payload) < 5 || payload[0] != protocol:
		return setupError("unsupported-protocol"), false
	case binary.LittleEndian.Uint16(payload[1:]) > version || binary.LittleEndian.Uint16(payload[3:]) < version:
		return setupError("protocol-version-mismatch"), false
	}
	return noise.Frame{Type: setupConnectionSuccess, Payload: []byte{version, 0, 0, 0, 0, 0}}, true
}

// setupError is SetupConnection.Error: flags U32, error_code STR0_255.
func setupError(code string) noise.Frame {
	return noise.Frame{Type: setupConnectionError, Payload: append([]byte{0, 0, 0, 0, byte(len(code))}, code...)}
}

// countMessage counts a message under a name.
func (c *session) countMessage(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.methods[name] > 0 || len(c.methods) < maxMethods {
		c.methods[name]++
	}
}

// random234 answers any 64 bytes with as many bytes as act 2 of Stratum V2 has.
func random234(c *session) {
	if _, err := io.ReadFull(c.in, make([]byte, noise.Act1Size)); err != nil {
		return
	}
	b := make([]byte, noise.Act2Size)
	_, _ = rand.Read(b) // never fails
	if c.answer(string(b)) {
		silent(c)
	}
}
