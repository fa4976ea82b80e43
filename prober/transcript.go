package prober

import (
	"bytes"
	"fmt"

	"github.com/minecanary/minecanary/prober/dialect"
)

// Bounds of a transcript.
const (
	// MaxTranscript is how many messages of one connection are kept.
	MaxTranscript = 32
	// MaxMessage is how many bytes the printable form of one message may have.
	MaxMessage = 1 << 10
)

// transcript keeps what was said on one connection, one element a line, however it was cut in segments.
type transcript struct {
	said []said
	lost int // messages beyond MaxTranscript
}

type said struct {
	mark string // ">> " ours, "<< " theirs
	data []byte // at most MaxMessage raw bytes
	size int
	done bool // the line has ended
}

func (t *transcript) sent(b []byte)     { t.add(">> ", b) }
func (t *transcript) received(b []byte) { t.add("<< ", b) }

func (t *transcript) add(mark string, b []byte) {
	for piece := range bytes.Lines(b) {
		done := piece[len(piece)-1] == '\n'
		last := len(t.said) - 1
		switch {
		case last >= 0 && !t.said[last].done && t.said[last].mark == mark:
		case last+1 < MaxTranscript:
			t.said = append(t.said, said{mark: mark})
			last++
		default:
			t.lost++
			continue
		}
		s := &t.said[last]
		s.size += len(piece)
		s.data = append(s.data, piece[:min(len(piece), MaxMessage-len(s.data))]...)
		s.done = done
	}
}

// lines gives the printable form, at most MaxTranscript elements of at most MaxMessage bytes; the last element tells
// what was left out.
func (t *transcript) lines() []string {
	if len(t.said) == 0 {
		return nil
	}
	const note = 48 // room for the mark and the size
	lines := make([]string, 0, len(t.said))
	for _, s := range t.said {
		line := s.mark + dialect.Quote(s.data, MaxMessage-note)
		if s.size > len(s.data) {
			line += fmt.Sprintf(" (%d bytes)", s.size)
		}
		lines = append(lines, line)
	}
	if t.lost > 0 {
		lines[len(lines)-1] = fmt.Sprintf("(%d more)", t.lost+1)
	}
	return lines
}
