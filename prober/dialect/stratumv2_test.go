package dialect

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/prober/noise"
)

var v2Target = Target{Host: "127.0.0.1", Port: "34254"}

// responder answers act 1.
func responder(tb testing.TB, act1 []byte) (act2 []byte, transport *noise.Transport) {
	tb.Helper()
	a, err := noise.NewAuthority([32]byte{31: 7})
	if err != nil {
		tb.Fatal(err)
	}
	answer, transport, err := noise.Respond(a, [noise.Act1Size]byte(act1), time.Date(2026, 10, 2, 12, 0, 0, 0, time.UTC))
	if err != nil {
		tb.Fatal(err)
	}
	return answer[:], transport
}

func sealed(tb testing.TB, transport *noise.Transport, frames ...noise.Frame) (wire []byte) {
	tb.Helper()
	for _, f := range frames {
		b, err := transport.Seal(f)
		if err != nil {
			tb.Fatal(err)
		}
		wire = append(wire, b...)
	}
	return wire
}

// refusal is SetupConnection.Error.
func refusal(code string) noise.Frame {
	return noise.Frame{Type: 2, Payload: append([]byte{0, 0, 0, 0, byte(len(code))}, code...)}
}

var (
	success  = noise.Frame{Type: 1, Payload: []byte{2, 0, 0, 0, 0, 0}}
	reserved = noise.Frame{Type: 0x1e, Payload: []byte("?")}
)

const certified = "the certificate (version 0, 2026-10-02 to 2026-10-02) is of an unknown authority"

// TestStratumV2 answers act 1 rightly and says various things then, whole and byte by byte.
func TestStratumV2(t *testing.T) {
	const shaken = "a verified Stratum V2 handshake"
	strong := func(summary string) Finding {
		return Finding{Level: Strong, Dialect: StratumV2, Summary: summary}
	}
	proof := func(flags string) Finding {
		return Finding{
			Level: Proof, Dialect: StratumV2, Coin: "bitcoin-family",
			Summary: shaken + ", then SetupConnection.Success for mining with flags " + flags + "; " + certified,
		}
	}
	node := Finding{
		Level: Proof, Dialect: StratumV2, Coin: "bitcoin-family", Node: true,
		Summary: "a template provider or job declarator, no pool: " + shaken + ", then the mining protocol is unsupported; " + certified,
	}
	mute := strong(shaken + " without an answer to SetupConnection")
	frames := func(frames ...noise.Frame) []noise.Frame { return frames }
	tests := []struct {
		name string
		then []noise.Frame
		want Finding
		done bool
	}{
		{"success", frames(success), proof("0x0"), true},
		{"success with flags", frames(noise.Frame{Type: 1, Payload: []byte{2, 0, 5, 0, 0, 0x80}}), proof("0x80000005"), true},
		{"success and more", frames(success, refusal("unsupported-protocol")), proof("0x0"), true},
		{"success after others", frames(reserved, noise.Frame{Extension: 0x8000, Type: 3, Payload: make([]byte, 4)}, noise.Frame{Type: 7}, success), proof("0x0"), true},
		{"template provider", frames(refusal("unsupported-protocol")), node, true},
		{"other refusal", frames(refusal("unsupported-feature-flags")), strong(shaken + `, then SetupConnection.Error "unsupported-feature-flags"`), true},
		{"refusal in control bytes", frames(refusal("\x1b[31m\xff")), strong(shaken + `, then SetupConnection.Error hex 1b5b33316dff`), true},
		{"refusal without a reason", frames(refusal("")), strong(shaken + `, then SetupConnection.Error ""`), true},
		{"longest refusal", frames(refusal(strings.Repeat("x", 255))), strong(shaken + `, then SetupConnection.Error "` + strings.Repeat("x", 60) + "..."), true},
		{"nothing", frames(), mute, false},
		{"another version", frames(noise.Frame{Type: 1, Payload: []byte{3, 0, 0, 0, 0, 0}}), strong(shaken + ", then version 3, which was not asked for"), true},
		{"short success", frames(noise.Frame{Type: 1, Payload: []byte{2, 0, 0, 0, 0}}), mute, false},
		{"long success", frames(noise.Frame{Type: 1, Payload: []byte{2, 0, 0, 0, 0, 0, 0}}), mute, false},
		{"empty success", frames(noise.Frame{Type: 1}), mute, false},
		{"success of an extension", frames(noise.Frame{Extension: 1, Type: 1, Payload: success.Payload}), mute, false},
		{"empty error", frames(noise.Frame{Type: 2}), mute, false},
		{"error shorter than it says", frames(noise.Frame{Type: 2, Payload: []byte("\x00\x00\x00\x00\x15unsupported-protocol")}), mute, false},
		{"error longer than it says", frames(noise.Frame{Type: 2, Payload: []byte("\x00\x00\x00\x00\x13unsupported-protocol")}), mute, false},
		{"a job at once", frames(noise.Frame{Extension: 0x8000, Type: 0x15, Payload: make([]byte, 45)}), mute, false},
		{"chatter, one message short of the bound", frames(repeat(reserved, mostFrames-1)...), mute, false},
		{"success as the last that is read", frames(append(repeat(reserved, mostFrames-1), success)...), proof("0x0"), true},
		{"success beyond what is read", frames(append(repeat(reserved, mostFrames), success)...), mute, true},
		{"a long frame", frames(noise.Frame{Type: 1, Payload: make([]byte, MaxSession/2)}), mute, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			whole := &miner{target: v2Target}
			act2, transport := responder(t, whole.Open())
			bytewise := &miner{target: v2Target, initiator: whole.initiator}
			say, done := whole.Take(act2)
			if done || len(say) == 0 {
				t.Fatalf("act 2: Take = %d bytes, %v", len(say), done)
			}
			transport.Take(say)
			if got, ok, err := transport.Next(); err != nil || !ok || got.Type != 0 || got.Extension != 0 {
				t.Fatalf("SetupConnection is %+v, %v, %v", got, ok, err)
			}
			wire := sealed(t, transport, tt.then...)
			say, done = whole.Take(wire)
			if len(say) > 0 || done != tt.done {
				t.Errorf("Take = %d bytes, done %v, want done %v", len(say), done, tt.done)
			}
			whole.End()
			if diff := cmp.Diff(tt.want, whole.Finding()); diff != "" {
				t.Errorf("finding (-want +got):\n%s", diff)
			}
			for _, b := range append(act2, wire...) {
				segment := []byte{b}
				bytewise.Take(segment)
				segment[0] = 0 // nothing of it is kept
			}
			if diff := cmp.Diff(whole.Finding(), bytewise.Finding()); diff != "" {
				t.Errorf("byte by byte (-whole +got):\n%s", diff)
			}
			together := &miner{target: v2Target, initiator: whole.initiator}
			together.Take(append(bytes.Clone(act2), wire...))
			if diff := cmp.Diff(whole.Finding(), together.Finding()); diff != "" {
				t.Errorf("act 2 and the rest in one segment (-whole +got):\n%s", diff)
			}
		})
	}
}

func repeat(f noise.Frame, n int) (frames []noise.Frame) {
	for range n {
		frames = append(frames, f)
	}
	return frames
}

// TestStratumV2Impostors answers act 1 with what is no act 2.
func TestStratumV2Impostors(t *testing.T) {
	random := make([]byte, noise.Act2Size)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	random[0] |= 0x80 // no text
	recorded, _ := responder(t, stratumV2().Session(v2Target).Open())
	noisy := Finding{Level: Noise, Summary: "234 bytes that are no answer to a Stratum V2 handshake: static key: authentication tag does not check"}
	tests := []struct {
		name   string
		answer func(act1 []byte) []byte
		want   Finding
		done   bool
	}{
		{"nothing", func([]byte) []byte { return nil }, Finding{}, false},
		{"an echo", bytes.Clone, Finding{}, false},
		{"a fourfold echo", func(act1 []byte) []byte { return bytes.Repeat(act1, 4) }, noisy, true},
		{"a byte too few", func([]byte) []byte { return random[1:] }, Finding{}, false},
		{"234 random bytes", func([]byte) []byte { return random }, noisy, true},
		{"more random bytes", func([]byte) []byte { return append(bytes.Clone(random), random...) }, noisy, true},
		{"a recorded act 2", func([]byte) []byte { return recorded }, noisy, true},
		{"our key and random bytes", func(act1 []byte) []byte { return append(bytes.Clone(act1), random[64:]...) }, noisy, true},
		{"a page", func([]byte) []byte {
			return []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 300\r\n\r\n" + strings.Repeat("no ", 100))
		}, Finding{}, false},
		{"a long line", func([]byte) []byte { return []byte(strings.Repeat("mining.notify ", 20_000)) }, Finding{}, false},
		{"zeroes", func([]byte) []byte { return make([]byte, 1<<17) }, noisy, true},
		{"a TLS alert", func([]byte) []byte { return []byte{0x15, 3, 3, 0, 2, 2, 70} }, Finding{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			whole := &miner{target: v2Target}
			answer := tt.answer(whole.Open())
			say, done := whole.Take(answer)
			if say != nil || done != tt.done {
				t.Errorf("Take = %x, done %v, want done %v", say, done, tt.done)
			}
			whole.End()
			if diff := cmp.Diff(tt.want, whole.Finding()); diff != "" {
				t.Errorf("finding (-want +got):\n%s", diff)
			}
			bytewise := &miner{target: v2Target, initiator: whole.initiator}
			for i := range answer {
				if say, _ := bytewise.Take(answer[i : i+1]); say != nil {
					t.Fatalf("said %x to an impostor", say)
				}
			}
			if diff := cmp.Diff(tt.want, bytewise.Finding()); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
			if held := cap(whole.act2) + cap(bytewise.act2); held > 4*noise.Act2Size {
				t.Errorf("%d bytes are held", held)
			}
		})
	}
}

// TestStratumV2Unsealed: what was not encrypted for us, or changed on the way, ends the session.
func TestStratumV2Unsealed(t *testing.T) {
	want := Finding{
		Level: Strong, Dialect: StratumV2,
		Summary: "a verified Stratum V2 handshake without an answer to SetupConnection, then record of 22 bytes: authentication tag does not check",
	}
	for name, change := range map[string]func(sealed []byte) []byte{
		"plain text":    func([]byte) []byte { return []byte(`{"id":1,"result":true,"error":null}` + "\n") },
		"a changed tag": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"another frame": func(b []byte) []byte { return b[noise.HeaderSize+noise.TagSize:] },
	} {
		s := stratumV2().Session(v2Target)
		act2, transport := responder(t, s.Open())
		s.Take(act2)
		if say, done := s.Take(change(sealed(t, transport, success))); say != nil || !done {
			t.Errorf("%s: Take = %x, done %v", name, say, done)
		}
		if diff := cmp.Diff(want, s.Finding()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestStratumV2Echo: our own SetupConnection says nothing when it comes back.
func TestStratumV2Echo(t *testing.T) {
	s := stratumV2().Session(v2Target)
	act2, _ := responder(t, s.Open())
	say, _ := s.Take(act2)
	if _, done := s.Take(say); !done || s.Finding().Level != Strong {
		t.Errorf("done %v with %+v, want strong: the handshake was real", done, s.Finding())
	}
}

// TestSetupConnection checks every byte of the one message.
func TestSetupConnection(t *testing.T) {
	long := strings.Repeat("a", 300)
	tests := []struct {
		name   string
		target Target
		want   string
	}{
		// The first 16 bytes as they were recorded of the reference implementation.
		{"native", v2Target, "00" + "0200" + "0200" + "00000000" + "09" + "3132372e302e302e31" + "ce85" +
			"0e" + hex.EncodeToString([]byte("cpuminer/1.0.4")) + "03637075" + "0131" + "00"},
		{"IPv6 and an agent", Target{Agent: "x", Host: "2001:db8::1", Port: "1"}, "00" + "0200" + "0200" + "00000000" +
			"0b" + hex.EncodeToString([]byte("2001:db8::1")) + "0100" + "0178" + "03637075" + "0131" + "00"},
		{"no port", Target{Host: "h", Port: "65536"}, "00" + "0200" + "0200" + "00000000" + "0168" + "0000" +
			"0e" + hex.EncodeToString([]byte("cpuminer/1.0.4")) + "03637075" + "0131" + "00"},
		{"too long", Target{Agent: long, Host: long, Port: "1"}, "00" + "0200" + "0200" + "00000000" +
			"ff" + hex.EncodeToString([]byte(long[:255])) + "0100" + "ff" + hex.EncodeToString([]byte(long[:255])) + "03637075" + "0131" + "00"},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString((&miner{target: tt.target}).setup()); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestStratumV2Bounds: a server that never ends its message, or sends without end, is left.
func TestStratumV2Bounds(t *testing.T) {
	s := &miner{target: v2Target}
	act2, transport := responder(t, s.Open())
	s.Take(act2)
	flood := sealed(t, transport, noise.Frame{Type: 1, Payload: make([]byte, noise.MaxPayload)})
	left := len(act2)
	for len(flood) > 0 {
		n := min(len(flood), 4<<10)
		left += n
		if _, done := s.Take(flood[:n]); done != (left >= MaxSession) {
			t.Fatalf("done %v after %d bytes", done, left)
		}
		flood = flood[n:]
	}
	if s.taken != MaxSession || s.Finding().Level != Strong {
		t.Errorf("%d bytes taken, %+v", s.taken, s.Finding())
	}
	if say, done := s.Take(make([]byte, 1<<20)); say != nil || !done || s.taken != MaxSession {
		t.Errorf("after the end: %x, %v, %d bytes", say, done, s.taken)
	}

	unopened := stratumV2().Session(v2Target)
	if say, _ := unopened.Take(make([]byte, 1000)); say != nil || unopened.Finding().Level != Nothing {
		t.Errorf("without act 1: %x, %+v", say, unopened.Finding())
	}
	opened := stratumV2().Session(v2Target)
	if !bytes.Equal(opened.Open(), opened.Open()) {
		t.Error("Open gives another key each time")
	}
}

// v2Frames reads frames from a fuzzer's bytes: extension, type, length, payload.
func v2Frames(b []byte) (frames []noise.Frame) {
	for len(b) >= 3 {
		n := min(int(b[2]), len(b)-3)
		frames = append(frames, noise.Frame{Extension: uint16(b[0]), Type: b[1], Payload: b[3 : 3+n]})
		b = b[3+n:]
	}
	return frames
}

// FuzzStratumV2 feeds a session with bytes of chance instead of an act 2, and one with a real act 2 and then frames of
// chance, of which one byte may be changed. The first is never more than noise; a proof in the second is one of the frames.
// Both find the same however the bytes are cut.
func FuzzStratumV2(f *testing.F) {
	var seed []byte
	for _, frame := range []noise.Frame{reserved, success} {
		seed = append(append(seed, 0, frame.Type, byte(len(frame.Payload))), frame.Payload...)
	}
	other := refusal("unsupported-protocol")
	f.Add([]byte(nil), seed, uint16(0), byte(0), uint8(0))
	f.Add(bytes.Repeat([]byte{0x80}, 300), append([]byte{0, 2, byte(len(other.Payload))}, other.Payload...), uint16(300), byte(0), uint8(9))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"+strings.Repeat(" ", 300)), []byte{1, 1, 6, 2, 0, 0, 0, 0, 0}, uint16(70), byte(1), uint8(233))
	for _, a := range answers[:8] {
		f.Add([]byte(a.text), []byte(a.text), uint16(len(a.text)), byte(0x20), uint8(40))
	}
	f.Fuzz(func(t *testing.T, chance, plain []byte, at uint16, flip byte, segment uint8) {
		chance = chance[:min(len(chance), MaxSession+1000)]
		plain = plain[:min(len(plain), MaxSession)]
		first := &miner{target: v2Target}
		act1 := first.Open()
		// again feeds another session with the same key in segments.
		again := func(b []byte) Finding {
			s := &miner{target: v2Target, initiator: first.initiator}
			for len(b) > 0 {
				n := min(len(b), int(segment)+1)
				s.Take(b[:n])
				b = b[n:]
			}
			s.End()
			if held := cap(s.act2); s.taken > MaxSession || held > 4*noise.Act2Size {
				t.Errorf("%d bytes taken, %d held", s.taken, held)
			}
			return s.Finding()
		}
		first.Take(chance)
		first.End()
		if f := first.Finding(); f.Level > Noise || f.Dialect != "" {
			t.Errorf("chance is %+v", f)
		}
		if diff := cmp.Diff(first.Finding(), again(chance)); diff != "" {
			t.Errorf("chance, cut (-whole +cut):\n%s", diff)
		}

		act2, transport := responder(t, act1)
		frames := v2Frames(plain)
		wire := sealed(t, transport, frames...)
		if int(at) < len(wire) {
			wire[at] ^= flip
		}
		wire = append(append(act2, wire...), chance...)
		whole := &miner{target: v2Target, initiator: first.initiator}
		whole.Take(wire)
		whole.End()
		got := whole.Finding()
		if diff := cmp.Diff(got, again(wire)); diff != "" {
			t.Errorf("cut (-whole +cut):\n%s", diff)
		}
		if len(got.Summary) > 400 || strings.ContainsFunc(got.Summary, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			t.Errorf("summary %q", got.Summary)
		}
		if got.Level != Strong && got.Level != Proof || got.Dialect != StratumV2 {
			t.Errorf("a verified handshake is %+v", got)
		}
		if got.Level == Proof && !said(frames, got.Node) {
			t.Errorf("%+v without its frame in %+v", got, frames)
		}
	})
}

// said looks for the frame of a proof, by its whole bytes.
func said(frames []noise.Frame, node bool) bool {
	for _, f := range frames {
		b := append(binary.LittleEndian.AppendUint16(nil, f.Extension), f.Type)
		b = append(b, f.Payload...)
		if !node && bytes.HasPrefix(b, []byte{0, 0, 1, 2, 0}) && len(b) == 9 {
			return true
		}
		if node && bytes.HasPrefix(b, []byte{0, 0, 2}) && len(b) == 28 && bytes.HasSuffix(b, []byte("\x14unsupported-protocol")) {
			return true
		}
	}
	return false
}
