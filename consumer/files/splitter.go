package files

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/minecanary/minecanary/consumer"
)

// errIdle says that nothing is there at the moment.
var errIdle = errors.New("nothing to read at the moment")

// piece is a run of whole lines, or one line that was cut out.
type piece struct {
	data        []byte
	start, next int64 // offsets of its first byte and of the byte after it
	line        int64 // number of its first line, 0 if unknown
	tooLong     []int64
	last        bool // the input has ended with it
}

// splitter cuts an input into pieces. Everything before off was handed over; carry is what was read beyond it.
//
// A buffer holds at most MaxLine+1 bytes, so a line that has its newline in the buffer is never too long, and one that
// fills the buffer without a newline always is.
type splitter struct {
	in   input
	off  int64 // of the first byte not handed over
	raw  int64 // of the next byte to be read
	line int64 // number of the line at off, 0 if unknown

	carry    []byte
	hasLine  bool // carry holds a whole line (after a cut)
	skipping bool // inside a line that is too long, which starts at off
	err      error

	head []byte // the first bytes of the file, at most headMax
}

// setOffset sets the place of an input that was moved there by other means.
func (s *splitter) setOffset(off, line int64) { s.off, s.raw, s.line = off, off, line }

// note keeps the head of the file and the place.
func (s *splitter) note(b []byte) {
	if n := int64(len(s.head)); n < headMax && s.raw <= n && s.raw+int64(len(b)) > n {
		fresh := b[n-s.raw:]
		s.head = append(s.head, fresh[:min(len(fresh), headMax-int(n))]...)
	}
	s.raw += int64(len(b))
}

// passing tells errors that end a wait from those that end the input.
func passing(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrClosed)
}

// fill reads the next piece into buf, which it may replace by a larger one; the buffer to go on with is returned in any
// case. With final the end of the input is the end of the file: an unfinished last line is handed over, and the piece
// that reaches the end says so. Without, io.EOF is the end for now. errIdle is only given without wait.
func (s *splitter) fill(ctx context.Context, buf []byte, final, wait bool) (piece, []byte, error) {
	b := buf[:0]
	if len(s.carry) >= cap(b) {
		b = make([]byte, 0, max(min(2*len(s.carry), consumer.MaxLine+1), len(s.carry)+1))
	}
	b = append(b, s.carry...)
	s.carry, s.hasLine = s.carry[:0], false
	for {
		err := s.err
		for err == nil && len(b) < cap(b) {
			var n int
			n, err = s.in.read(ctx, b[len(b):cap(b)], wait && bytes.IndexByte(b, '\n') < 0)
			s.note(b[len(b) : len(b)+n])
			b = b[:len(b)+n]
			if n == 0 && err == nil {
				err = errIdle
			}
		}
		ended := err != nil && !passing(err) && !errors.Is(err, errIdle)
		forNow := ended && errors.Is(err, io.EOF) && !final
		if ended && !forNow {
			s.err = err
		}
		if s.skipping {
			p, done := s.skip(b, ended && !forNow)
			if done {
				return p, b, nil
			}
			b = b[:0]
			if err != nil {
				return piece{}, b, err
			}
			continue
		}
		if final && errors.Is(err, io.EOF) && len(b) > 0 {
			return s.cut(b, len(b), true), b, nil
		}
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			return s.cut(b, i+1, false), b, nil
		}
		if ended && !forNow {
			if len(b) == 0 {
				return piece{}, b, err
			}
			return s.cut(b, len(b), false), b, nil // what stood before the damage
		}
		if len(b) == cap(b) {
			if cap(b) > consumer.MaxLine {
				s.skipping, b = true, b[:0]
			} else {
				b = append(make([]byte, 0, min(2*cap(b), consumer.MaxLine+1)), b...)
			}
		}
		if err != nil {
			s.carry = append(s.carry, b...)
			return piece{}, b, err
		}
		if err := ctx.Err(); err != nil { // a line without end is read for long
			s.carry = append(s.carry, b...)
			return piece{}, b, err
		}
	}
}

// cut makes a piece of the first n bytes and keeps the rest.
func (s *splitter) cut(b []byte, n int, last bool) piece {
	p := piece{data: b[:n], start: s.off, next: s.off + int64(n), line: s.line, last: last}
	s.carry = append(s.carry, b[n:]...)
	s.off = p.next
	if s.line > 0 {
		s.line += int64(bytes.Count(p.data, newline))
		if n > 0 && b[n-1] != '\n' {
			s.line++
		}
	}
	return p
}

var newline = []byte{'\n'}

// skip looks for the end of a line that is too long.
func (s *splitter) skip(b []byte, ended bool) (piece, bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 && !ended {
		return piece{}, false
	}
	if i < 0 {
		i = len(b) - 1
	}
	s.carry = append(s.carry, b[i+1:]...)
	s.hasLine = bytes.IndexByte(s.carry, '\n') >= 0
	p := piece{start: s.off, next: s.raw - int64(len(s.carry)), line: s.line, tooLong: []int64{s.line}}
	s.off, s.skipping = p.next, false
	if s.line > 0 {
		s.line++
	}
	return p, true
}

// finish hands over an unfinished last line, when a file that was followed has ended.
func (s *splitter) finish(buf []byte) (piece, []byte) {
	if s.skipping {
		p, _ := s.skip(nil, true)
		return p, buf
	}
	if len(s.carry) == 0 {
		return piece{start: s.off, next: s.off}, buf
	}
	b := append(buf[:0], s.carry...)
	s.carry = s.carry[:0]
	return s.cut(b, len(b), false), b
}
