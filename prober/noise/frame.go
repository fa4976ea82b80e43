package noise

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderSize is the length of a frame's header before encryption, in bytes (specification, 3.2): extension type U16,
// message type U8, message length U24.
const HeaderSize = 6

// MaxPayload is the longest payload of a frame, in bytes: what fits into one record of Noise, whose length is at most
// 65535 with its tag. Stratum V2 cuts longer payloads into several records; nothing that a prober waits for is so long.
const MaxPayload = 1<<16 - 1 - TagSize

// ErrTooLong is returned for a frame whose payload is longer than MaxPayload.
var ErrTooLong = errors.New("frame is too long")

// Frame is one message of Stratum V2.
type Frame struct {
	// Extension is the extension that defines the message, 0 for none. Its highest bit tells that the message is for one
	// channel.
	Extension uint16
	// Type says which message it is (specification, 08 Message Types).
	Type uint8
	// Payload is the message, at most MaxPayload bytes.
	Payload []byte
}

// Transport is the encrypted channel after the handshake. It is used by one goroutine.
type Transport struct {
	send, receive *direction
	in            []byte // what came and is no whole record yet
	header        []byte // of the frame that is being received, nil between frames
	err           error  // nothing is read any more
}

// Seal encrypts a frame: a record of the header and, if there is a payload, a record of it (specification, 4.6). It fails
// with ErrTooLong.
func (t *Transport) Seal(f Frame) ([]byte, error) {
	if len(f.Payload) > MaxPayload {
		return nil, ErrTooLong
	}
	header := binary.LittleEndian.AppendUint16(make([]byte, 0, HeaderSize), f.Extension)
	header = append(header, f.Type, byte(len(f.Payload)), byte(len(f.Payload)>>8), 0)
	out, err := t.send.seal(make([]byte, 0, len(header)+TagSize+len(f.Payload)+TagSize), header, nil)
	if err != nil || len(f.Payload) == 0 {
		return out, err
	}
	return t.send.seal(out, f.Payload, nil)
}

// Take takes bytes that came, however they were cut, and does not keep b. Next gives the frames in them. What was taken
// and not yet given is held; a caller that calls Next until it gives nothing has at most one frame's bytes held, and what
// it took last.
func (t *Transport) Take(b []byte) {
	if t.err == nil {
		t.in = append(t.in, b...)
	}
}

// Next gives the next frame; ok is false while none is whole. The frame's payload is the caller's. It fails with ErrTag or
// ErrTooLong, from then on always.
func (t *Transport) Next() (f Frame, ok bool, err error) {
	if t.err != nil {
		return Frame{}, false, t.err
	}
	if t.header == nil {
		header, ok, err := t.record(HeaderSize)
		if err != nil || !ok {
			return Frame{}, false, err
		}
		t.header = header
	}
	size := int(t.header[3]) | int(t.header[4])<<8 | int(t.header[5])<<16
	if size > MaxPayload {
		return Frame{}, false, t.fail(ErrTooLong)
	}
	f = Frame{Extension: binary.LittleEndian.Uint16(t.header), Type: t.header[2]}
	if size > 0 {
		if f.Payload, ok, err = t.record(size); err != nil || !ok {
			return Frame{}, false, err
		}
	}
	t.header = nil
	return f, true, nil
}

// record decrypts the next record of the given plain length, if it is whole.
func (t *Transport) record(size int) ([]byte, bool, error) {
	size += TagSize
	if len(t.in) < size {
		return nil, false, nil
	}
	plain, err := t.receive.open(t.in[:size], nil)
	if err != nil {
		return nil, false, t.fail(fmt.Errorf("record of %d bytes: %w", size, err))
	}
	t.in = t.in[size:]
	return plain, true, nil
}

func (t *Transport) fail(err error) error {
	t.err, t.in = err, nil
	return err
}
