package noise

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// unhex reads hex of known length.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func rows(t *testing.T, file string) [][]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil || len(all) < 2 {
		t.Fatalf("%s: %d rows, %v", file, len(all), err)
	}
	return all[1:]
}

// TestBegin: the hash of the protocol's name as the reference implementation has it for a constant.
func TestBegin(t *testing.T) {
	s := begin()
	want := "2eb4788120" + "8e9eee1f669f67c66ee70ea9ea88090d503fe830dc4bc83e29bf10"
	if got := hex.EncodeToString(s.ck[:]); got != want {
		t.Errorf("ck = %s, want %s", got, want)
	}
	if want := sha256.Sum256(unhex(t, want)); s.h != want {
		t.Errorf("h = %x, want %x", s.h, want)
	}
}

// TestSharedSecret: the vectors of BIP 324 (packet_encoding_test_vectors.csv).
func TestSharedSecret(t *testing.T) {
	for _, row := range rows(t, "testdata/bip324-shared-secret.csv") {
		secret, _ := btcec.PrivKeyFromBytes(unhex(t, row[0]))
		k := key{secret: secret, encoded: [KeySize]byte(unhex(t, row[1]))}
		got, err := k.agree([KeySize]byte(unhex(t, row[2])), row[3] == "1")
		if err != nil || hex.EncodeToString(got[:]) != row[4] {
			t.Errorf("%s and %s: %x, %v; want %s", row[0], row[2], got, err, row[4])
		}
	}
}

// TestDecode: the vectors of BIP 324 (ellswift_decode_test_vectors.csv), as the server's key of a certificate.
func TestDecode(t *testing.T) {
	var signed [signedSize]byte
	for _, row := range rows(t, "testdata/bip324-decode.csv") {
		got, err := signedHash(signed, [KeySize]byte(unhex(t, row[0])))
		want := sha256.Sum256(append(signed[:], unhex(t, row[1])...))
		if err != nil || got != want {
			t.Errorf("%s: %x, %v; want the hash of %s", row[0], got, err, row[1])
		}
	}
}

// TestDerive: Noise's HKDF is that of RFC 5869.
func TestDerive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chaining := [sha256.Size]byte(rapid.SliceOfN(rapid.Byte(), sha256.Size, sha256.Size).Draw(t, "chaining"))
		input := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "input")
		want, err := hkdf.Key(sha256.New, input, chaining[:], "", 2*sha256.Size)
		if err != nil {
			t.Fatal(err)
		}
		first, second := derive(chaining, input)
		if got := append(first[:], second[:]...); !bytes.Equal(got, want) {
			t.Errorf("derive = %x, want %x", got, want)
		}
	})
}

// vector is a handshake with fixed keys and a message in each direction, made by the reference implementation's crates
// (test/sri, "sri vector").
type vector struct {
	Authority, Secret, Act1, Act2, Success string
	SetupConnection                        string `json:"setup_connection"`
}

func readVector(tb testing.TB) (v vector) {
	tb.Helper()
	b, err := os.ReadFile("testdata/sri.json")
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		tb.Fatal(err)
	}
	return v
}

func (v vector) initiator(tb testing.TB) *Initiator {
	tb.Helper()
	secret, _ := btcec.PrivKeyFromBytes(unhex(tb, v.Secret))
	return initiate(key{secret: secret, encoded: [KeySize]byte(unhex(tb, v.Act1))})
}

// setup is the frame of the vector: mining protocol, version 2 to 2, no flags, host, port, vendor, hardware, firmware and
// no device.
var setup = Frame{Payload: []byte("\x00\x02\x00\x02\x00\x00\x00\x00\x00\x09127.0.0.1\xce\x85\x06vendor\x011\x012\x00")}

// TestReference: the initiator understands the reference implementation's act 2, and encrypts byte for byte as it does.
func TestReference(t *testing.T) {
	v := readVector(t)
	transport, certificate, err := v.initiator(t).Finish([Act2Size]byte(unhex(t, v.Act2)))
	if err != nil {
		t.Fatal(err)
	}
	valid := time.Unix(1_700_000_000, 0).UTC()
	if certificate.Version != 0 || !certificate.ValidFrom.Equal(valid) || !certificate.NotValidAfter.Equal(valid.Add(time.Hour)) {
		t.Errorf("certificate %+v", certificate)
	}
	if err := certificate.Verify([AuthoritySize]byte(unhex(t, v.Authority))); err != nil {
		t.Errorf("Verify = %v", err)
	}
	sealed, err := transport.Seal(setup)
	if err != nil || hex.EncodeToString(sealed) != v.SetupConnection {
		t.Errorf("Seal = %x, %v; want %s", sealed, err, v.SetupConnection)
	}
	transport.Take(unhex(t, v.Success))
	got, ok, err := transport.Next()
	if diff := cmp.Diff(Frame{Type: 1, Payload: []byte{2, 0, 0, 0, 0, 0}}, got); err != nil || !ok || diff != "" {
		t.Errorf("Next = %v, %v:\n%s", ok, err, diff)
	}
}

// pair makes a handshake of our own.
func pair(tb testing.TB) (initiator, responder *Transport, certificate Certificate) {
	tb.Helper()
	i, err := NewInitiator()
	if err != nil {
		tb.Fatal(err)
	}
	act2, responder, err := Respond(authority(tb), i.Act1(), time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	initiator, certificate, err = i.Finish(act2)
	if err != nil {
		tb.Fatal(err)
	}
	return initiator, responder, certificate
}

func authority(tb testing.TB) *Authority {
	tb.Helper()
	a, err := NewAuthority([32]byte{31: 7})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func TestNewAuthority(t *testing.T) {
	order := [32]byte(unhex(t, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"))
	below := order
	below[31]--
	for _, tt := range []struct {
		secret [32]byte
		ok     bool
	}{{[32]byte{}, false}, {[32]byte{31: 1}, true}, {order, false}, {below, true}} {
		if _, err := NewAuthority(tt.secret); (err == nil) != tt.ok {
			t.Errorf("NewAuthority(%x) = %v", tt.secret, err)
		}
	}
}

func TestCertificate(t *testing.T) {
	before := time.Now().Add(-time.Second)
	_, _, c := pair(t)
	if err := c.Verify(authority(t).PublicKey()); err != nil {
		t.Errorf("Verify = %v", err)
	}
	if c.ValidFrom.Before(before) || c.ValidFrom.After(time.Now()) || c.NotValidAfter.Sub(c.ValidFrom) != validity {
		t.Errorf("valid from %v to %v", c.ValidFrom, c.NotValidAfter)
	}
	other, err := NewAuthority([32]byte{31: 8})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(other.PublicKey()); !errors.Is(err, ErrSignature) {
		t.Errorf("Verify with another authority = %v, want ErrSignature", err)
	}
	for name, change := range map[string]func(*Certificate){
		"signature":    func(c *Certificate) { c.Signature[63] ^= 1 },
		"no signature": func(c *Certificate) { c.Signature = [64]byte(bytes.Repeat([]byte{0xff}, 64)) },
		"validity":     func(c *Certificate) { c.signed[9] ^= 1 },
		"server's key": func(c *Certificate) { c.ServerKey[0] ^= 1 },
	} {
		forged := c
		change(&forged)
		if err := forged.Verify(authority(t).PublicKey()); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: Verify = %v, want ErrSignature", name, err)
		}
	}
	if err := c.Verify([AuthoritySize]byte(bytes.Repeat([]byte{0xff}, 32))); err == nil || errors.Is(err, ErrSignature) {
		t.Errorf("Verify with no key = %v", err)
	}
}

// TestTampered: one bit anywhere in act 2 and the handshake fails, and so does the answer to another one's act 1.
func TestTampered(t *testing.T) {
	v := readVector(t)
	i := v.initiator(t)
	act2 := [Act2Size]byte(unhex(t, v.Act2))
	for at := 0; at < len(act2); at += 3 {
		forged := act2
		forged[at] ^= 1 << (at % 8)
		if transport, _, err := i.Finish(forged); !errors.Is(err, ErrTag) || transport != nil {
			t.Errorf("byte %d: Finish = %v", at, err)
		}
	}
	if _, _, err := i.Finish(act2); err != nil {
		t.Errorf("Finish after failures = %v", err)
	}
	other, err := NewInitiator()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Finish(act2); !errors.Is(err, ErrTag) {
		t.Errorf("a recorded act 2: Finish = %v, want ErrTag", err)
	}
	if i.Act1() == other.Act1() {
		t.Error("two handshakes begin with the same key")
	}
}

// drain gives all frames that are whole.
func drain(t *Transport) (frames []Frame, err error) {
	for {
		f, ok, err := t.Next()
		if err != nil || !ok {
			return frames, err
		}
		frames = append(frames, f)
	}
}

// TestFrames: what one side says the other hears, however it is cut; then the directions are independent.
func TestFrames(t *testing.T) {
	initiator, responder, _ := pair(t)
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Frame {
			f := Frame{Extension: rapid.Uint16().Draw(t, "extension"), Type: rapid.Byte().Draw(t, "type")}
			if size := rapid.SampledFrom([]int{0, 1, 6, 255, 4096, MaxPayload}).Draw(t, "size"); size > 0 {
				f.Payload = bytes.Repeat([]byte{rapid.Byte().Draw(t, "content")}, size)
			}
			return f
		}), 0, 4).Draw(t, "frames")
		for _, way := range []struct{ from, to *Transport }{{initiator, responder}, {responder, initiator}} {
			var wire []byte
			for _, f := range frames {
				sealed, err := way.from.Seal(f)
				if err != nil {
					t.Fatal(err)
				}
				wire = append(wire, sealed...)
			}
			var got []Frame
			for len(wire) > 0 {
				n := min(len(wire), rapid.IntRange(1, 70_000).Draw(t, "segment"))
				segment := bytes.Clone(wire[:n])
				way.to.Take(segment)
				clear(segment) // Take keeps nothing of it
				wire = wire[n:]
				part, err := drain(way.to)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, part...)
			}
			if diff := cmp.Diff(frames, got, cmp.Comparer(func(a, b Frame) bool {
				return a.Extension == b.Extension && a.Type == b.Type && bytes.Equal(a.Payload, b.Payload)
			})); len(frames) > 0 && diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
		}
	})
}

func TestBounds(t *testing.T) {
	initiator, responder, _ := pair(t)
	if _, err := initiator.Seal(Frame{Payload: make([]byte, MaxPayload+1)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("Seal = %v, want ErrTooLong", err)
	}
	// A header that announces more than is taken ends the channel at once, whatever follows.
	header := []byte{0, 0, 1, 0xf0, 0xff, 0}
	record, err := responder.send.seal(nil, header, nil)
	if err != nil {
		t.Fatal(err)
	}
	initiator.Take(record)
	for range 2 {
		if _, ok, err := initiator.Next(); ok || !errors.Is(err, ErrTooLong) {
			t.Errorf("Next = %v, %v; want ErrTooLong", ok, err)
		}
		initiator.Take(make([]byte, 1<<10))
	}
	if len(initiator.in) != 0 {
		t.Errorf("%d bytes are held after the end", len(initiator.in))
	}
	responder.send.n = 1<<64 - 1
	if _, err := responder.Seal(setup); !errors.Is(err, errExhausted) {
		t.Errorf("Seal with a used-up key = %v", err)
	}
	initiator.receive.n = 1<<64 - 1
	if _, err := initiator.receive.open(record, nil); !errors.Is(err, errExhausted) {
		t.Errorf("open with a used-up key = %v", err)
	}
}

// FuzzAct2: no bytes but the ones of the vector, which were made for its key, pass for an act 2. The certificate of any
// plain text is read and does not verify.
func FuzzAct2(f *testing.F) {
	v := readVector(f)
	good := [Act2Size]byte(unhex(f, v.Act2))
	f.Add(good[:])
	f.Add(bytes.Repeat([]byte{0xff}, Act2Size))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var act2 [Act2Size]byte
		copy(act2[:], b)
		transport, _, err := v.initiator(t).Finish(act2)
		if (err == nil) != (act2 == good) || (transport == nil) == (err == nil) {
			t.Errorf("Finish(%x) = %v", act2, err)
		}
		c := parseCertificate([certificateSize]byte(act2[KeySize:]), [KeySize]byte(act2[:]))
		if err := c.Verify([AuthoritySize]byte(unhex(t, v.Authority))); err == nil {
			t.Errorf("a certificate of chance verifies: %+v", c)
		}
	})
}

// FuzzFrames: bytes of the peer that were changed on the way give frames it sent, in order, up to the first change, and
// then an error; it does not matter how they are cut.
func FuzzFrames(f *testing.F) {
	f.Add(uint8(1), []byte{2, 0, 0, 0, 0, 0}, uint16(0), byte(0), []byte{}, uint8(1))
	f.Add(uint8(2), []byte("\x00\x00\x00\x00\x14unsupported-protocol"), uint16(30), byte(1), []byte("more"), uint8(7))
	f.Add(uint8(0), []byte{}, uint16(3), byte(0xff), bytes.Repeat([]byte{0}, 40), uint8(21))
	v := readVector(f)
	act2 := [Act2Size]byte(unhex(f, v.Act2))
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte, at uint16, flip byte, extra []byte, segment uint8) {
		payload = payload[:min(len(payload), MaxPayload)]
		whole, _, err := v.initiator(t).Finish(act2)
		if err != nil {
			t.Fatal(err)
		}
		cut := &Transport{receive: &direction{aead: whole.receive.aead}}
		peer := &Transport{send: &direction{aead: whole.receive.aead}}
		want := []Frame{{Type: kind, Payload: payload}, {Extension: 1, Type: kind}}
		var wire []byte
		for _, f := range want {
			sealed, err := peer.Seal(f)
			if err != nil {
				t.Fatal(err)
			}
			wire = append(wire, sealed...)
		}
		mutated := flip != 0 && int(at) < len(wire)
		if mutated {
			wire[at] ^= flip
		}
		wire = append(wire, extra...)
		whole.Take(wire)
		got, errWhole := drain(whole)
		var bits []Frame
		var errCut error
		for len(wire) > 0 {
			n := min(len(wire), int(segment)+1)
			cut.Take(wire[:n])
			wire = wire[n:]
			part, err := drain(cut)
			bits, errCut = append(bits, part...), err
		}
		if diff := cmp.Diff(got, bits); diff != "" || (errWhole == nil) != (errCut == nil) {
			t.Errorf("whole %v, cut %v:\n%s", errWhole, errCut, diff)
		}
		if len(got) > len(want) || !mutated && len(got) < len(want) || mutated && (len(got) == len(want) || errWhole == nil) {
			t.Errorf("%d frames, %v", len(got), errWhole)
		}
		for i, f := range got {
			if f.Type != want[i].Type || f.Extension != want[i].Extension || !bytes.Equal(f.Payload, want[i].Payload) {
				t.Errorf("frame %d is %+v, want %+v", i, f, want[i])
			}
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	a := authority(b)
	b.Run("initiator", func(b *testing.B) {
		probe, err := NewInitiator()
		if err != nil {
			b.Fatal(err)
		}
		act2, _, err := Respond(a, probe.Act1(), time.Now())
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := NewInitiator(); err != nil {
				b.Fatal(err)
			}
			if _, _, err := probe.Finish(act2); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("responder", func(b *testing.B) {
		i, err := NewInitiator()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, _, err := Respond(a, i.Act1(), time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
