package dialect

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/minecanary/minecanary/prober/noise"
)

// What is said of the device. It is that of a CPU miner, because no more is known of cpuminer; device_id is for telemetry
// and stays empty.
const (
	deviceHardware = "cpu"
	deviceFirmware = "1"
)

// Messages of Stratum V2 (specification, 3.6 and 08 Message Types).
const (
	setupConnection        = 0x00
	setupConnectionSuccess = 0x01
	setupConnectionError   = 0x02
)

const (
	// miningProtocol is the protocol we ask for: 1 is job declaration, 2 template distribution.
	miningProtocol = 0
	// protocolVersion is the one version there is.
	protocolVersion = 2
	// unsupportedProtocol is what a server of another protocol answers (the reference implementation's pool, job declarator
	// and template provider).
	unsupportedProtocol = "unsupported-protocol"
	// longestText is the length of the longest STR0_255.
	longestText = 255
	// mostFrames is how many messages are read that are no answer. The server may send what it likes, but none of them is
	// known to come before the answer.
	mostFrames = 16
	// leastText is how many of the first bytes are letters, digits, signs or blanks in a text. Random bytes are so many once
	// in five million times.
	leastText = 16
)

// stratumV2 is Stratum V2: a handshake that nothing but Stratum V2 answers, then SetupConnection for the mining protocol. No
// channel is ever opened.
func stratumV2() Dialect {
	return Dialect{
		Name:    StratumV2,
		Session: func(t Target) Session { return &miner{target: t} },
	}
}

// miner is a Session of Stratum V2. It keeps at most one frame or MaxSession bytes, whichever is less.
type miner struct {
	target      Target
	initiator   *noise.Initiator // nil before Open
	act2        []byte           // the begin of the answer, until it is whole
	transport   *noise.Transport // nil before it is whole and checked
	certificate noise.Certificate
	taken       int // bytes
	frames      int
	text        bool // the answer is a text, for others to judge
	done        bool
	finding     Finding
}

// Open gives act 1. It makes the key, so that a session that is never opened costs nothing.
func (s *miner) Open() []byte {
	if s.initiator == nil {
		var err error
		if s.initiator, err = noise.NewInitiator(); err != nil {
			s.done = true
			return nil
		}
	}
	act1 := s.initiator.Act1()
	return act1[:]
}

// Take takes act 2, says SetupConnection, and waits for its answer.
func (s *miner) Take(b []byte) (say []byte, done bool) {
	if s.text || s.done || s.initiator == nil {
		return nil, s.done
	}
	b = b[:min(len(b), MaxSession-s.taken)]
	s.taken += len(b)
	if s.transport == nil {
		n := min(len(b), noise.Act2Size-len(s.act2))
		s.act2, b = append(s.act2, b[:n]...), b[n:]
		if len(s.act2) < noise.Act2Size {
			return nil, false
		}
		if say = s.shake(); s.transport == nil {
			return nil, s.done
		}
	}
	s.transport.Take(b)
	for !s.done {
		frame, ok, err := s.transport.Next()
		switch {
		case err != nil:
			s.finding.Summary += ", then " + err.Error()
			s.done = true
		case ok:
			s.frames++
			s.judge(frame)
			s.done = s.done || s.frames == mostFrames
		case s.taken == MaxSession:
			s.done = true
		default:
			return say, false
		}
	}
	return nil, true
}

// shake checks act 2 and gives SetupConnection.
func (s *miner) shake() (say []byte) {
	transport, certificate, err := s.initiator.Finish([noise.Act2Size]byte(s.act2))
	if err != nil {
		if s.text = isText(s.act2[:leastText]); !s.text {
			s.finding = Finding{Level: Noise, Summary: "234 bytes that are no answer to a Stratum V2 handshake: " + err.Error()}
			s.done = true
		}
		s.act2 = nil
		return nil
	}
	s.act2 = nil
	say, err = transport.Seal(noise.Frame{Type: setupConnection, Payload: s.setup()})
	if err != nil { // the payload is short
		s.done = true
		return nil
	}
	s.transport, s.certificate = transport, certificate
	s.finding = Finding{Level: Strong, Dialect: StratumV2, Summary: "a verified Stratum V2 handshake without an answer to SetupConnection"}
	return say
}

// setup is SetupConnection: protocol U8, min_version U16, max_version U16, flags U32, endpoint_host STR0_255, endpoint_port
// U16, vendor, hardware_version, firmware, device_id (all STR0_255).
func (s *miner) setup() []byte {
	port, err := strconv.ParseUint(s.target.Port, 10, 16)
	if err != nil {
		port = 0 // it is for servers that serve several names, and not looked at
	}
	b := []byte{miningProtocol}
	b = binary.LittleEndian.AppendUint16(b, protocolVersion)
	b = binary.LittleEndian.AppendUint16(b, protocolVersion)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = appendText(b, s.target.Host)
	b = binary.LittleEndian.AppendUint16(b, uint16(port))
	for _, text := range []string{s.target.agent(stratumAgent), deviceHardware, deviceFirmware, ""} {
		b = appendText(b, text)
	}
	return b
}

// appendText appends a STR0_255: its length in one byte and then the text, cut if it is longer than that.
func appendText(b []byte, text string) []byte {
	text = text[:min(len(text), longestText)]
	return append(append(b, byte(len(text))), text...)
}

// judge looks for the answer to SetupConnection. Messages of extensions, and any others, are passed over as the
// specification has it (3.4.1).
func (s *miner) judge(f noise.Frame) {
	if f.Extension != 0 {
		return
	}
	switch f.Type {
	case setupConnectionSuccess:
		if len(f.Payload) != 6 { // used_version U16, flags U32
			return
		}
		version, flags := binary.LittleEndian.Uint16(f.Payload), binary.LittleEndian.Uint32(f.Payload[2:])
		if version != protocolVersion {
			s.finding.Summary = fmt.Sprintf("a verified Stratum V2 handshake, then version %d, which was not asked for", version)
			break
		}
		s.finding = Finding{
			Level: Proof, Dialect: StratumV2, Coin: "bitcoin-family",
			Summary: fmt.Sprintf("a verified Stratum V2 handshake, then SetupConnection.Success for mining with flags %#x; %s",
				flags, s.certified()),
		}
	case setupConnectionError:
		if len(f.Payload) < 5 || int(f.Payload[4]) != len(f.Payload)-5 { // flags U32, error_code STR0_255
			return
		}
		code := f.Payload[5:]
		if string(code) == unsupportedProtocol {
			s.finding = Finding{
				Level: Proof, Dialect: StratumV2, Coin: "bitcoin-family", Node: true,
				Summary: "a template provider or job declarator, no pool: a verified Stratum V2 handshake, then the mining protocol is unsupported; " +
					s.certified(),
			}
			break
		}
		s.finding.Summary = "a verified Stratum V2 handshake, then SetupConnection.Error " + Quote(code, 64)
	default:
		return
	}
	s.done = true
}

// certified tells of the certificate. Its signature could be checked with the key of the pool's authority alone, which is
// not known.
func (s *miner) certified() string {
	return fmt.Sprintf("the certificate (version %d, %s to %s) is of an unknown authority", s.certificate.Version,
		s.certificate.ValidFrom.Format(time.DateOnly), s.certificate.NotValidAfter.Format(time.DateOnly))
}

// End has nothing to judge: less than a whole answer is none.
func (s *miner) End() {}

// Finding gives a proof, what speaks for one, or noise; a text gives the zero value.
func (s *miner) Finding() Finding { return s.finding }

// isText tells whether all bytes are printable ASCII or blanks.
func isText(b []byte) bool {
	for _, c := range b {
		if (c < 0x20 || c > 0x7e) && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}
