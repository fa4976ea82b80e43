package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func pair(t *testing.T, set *connSet, idle time.Duration) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	ours, err = set.add(raw, idle, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	return ours, theirs
}

// TestConnRead wants the same bytes whatever the sizes of the pieces that are asked for.
func TestConnRead(t *testing.T) {
	defer goleak.VerifyNone(t)
	var set connSet
	ours, theirs := pair(t, &set, time.Minute)
	want := make([]byte, 3<<20)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	go func() {
		_, _ = theirs.Write(want) // the reader compares
		_ = theirs.Close()
	}()
	var got []byte
	piece := make([]byte, 2*readBuffer)
	for {
		n, err := ours.Read(piece[:1+rand.IntN(len(piece))])
		got = append(got, piece[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Error("other bytes")
	}
}

// TestConnIdle wants that silence ends a read, that a closer deadline counts, and that data in time do not.
func TestConnIdle(t *testing.T) {
	defer goleak.VerifyNone(t)
	var set connSet
	ours, theirs := pair(t, &set, 300*time.Millisecond)
	b := make([]byte, 1)
	for range 5 {
		time.Sleep(100 * time.Millisecond)
		if _, err := theirs.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := ours.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silence: %v", err)
	}
	if err := ours.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := ours.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > 200*time.Millisecond {
		t.Errorf("deadline: %v after %s", err, time.Since(began))
	}
}

func TestConnSetCut(t *testing.T) {
	defer goleak.VerifyNone(t)
	var set connSet
	ours, _ := pair(t, &set, time.Minute)
	other, _ := pair(t, &set, time.Minute)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if len(set.conns) != 1 {
		t.Errorf("%d connections known", len(set.conns))
	}
	failed := make(chan error)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		failed <- err
	}()
	set.cut()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	raw, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	if _, err := set.add(raw, time.Minute, 0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a connection after the cut: %v", err)
	}
}

// TestConnLimit wants every answer up to the limit and an error at the first one over it, however it is cut in pieces.
func TestConnLimit(t *testing.T) {
	const limit = 100_000
	frame := func(size int) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(size))
		return append(b, make([]byte, size)...)
	}
	for _, piece := range []int{1, 3, 4, 5, 1000, readBuffer - 1, readBuffer, 3 * readBuffer} {
		t.Run(strconv.Itoa(piece), func(t *testing.T) {
			var set connSet
			ours, theirs := pair(t, &set, time.Minute)
			ours.(*conn).limit = limit
			good := slices.Concat(frame(0), frame(1), frame(limit), frame(3), frame(limit-1))
			go func() {
				b := append(good, frame(limit+1)...)
				for len(b) > 0 {
					n := min(piece, len(b))
					if _, err := theirs.Write(b[:n]); err != nil {
						return // the test has seen enough
					}
					b = b[n:]
				}
			}()
			got := 0
			p := make([]byte, 2*readBuffer)
			for {
				n, err := ours.Read(p[:max(1, min(piece, len(p)))])
				got += n
				if err != nil {
					if !errors.Is(err, errTooLarge) {
						t.Fatal(err)
					}
					break
				}
			}
			// What came in one piece with the head of the answer too large may be lost: the connection is of no more use.
			if got > len(good)+frameHead+2*readBuffer || got < len(good)-readBuffer {
				t.Errorf("got %d bytes, want about %d", got, len(good))
			}
		})
	}
}
