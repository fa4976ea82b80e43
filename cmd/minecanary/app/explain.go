package app

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich/score"
)

// maxExplainLine bounds a line of explain's input, bytes.
const maxExplainLine = 1 << 20

// explainInput is one aggregate. Everything but the first seven keys is for canary only.
type explainInput struct {
	Ack, AckPush, Other, Packets, Bytes float64
	FirstSeen, LastSeen                 float64
	ServerPackets, ServerBytes          float64
	ClientPayload, ServerPayload        float64
	ServerPort                          float64
}

func newExplain(e env) *cobra.Command {
	var scorer string
	var threshold float64
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain [--scorer nemea|canary] [--json] < aggregates.ndjson",
		Short: "say how a scorer judges aggregates given as NDJSON",
		Long: `Explain reads one aggregate a line from standard input and prints one line for each, in the same order: score,
passed, and every criterion. Keys: ack, ackpush, other (slices), packets, bytes (IP bytes, client to server), first_seen,
last_seen (Unix seconds; fractions are cut off for nemea). For canary also: server_packets, server_bytes,
client_payload, server_payload, server_port. Missing keys are 0, other keys are ignored. A line that is no aggregate
gives a line with "error", and exit code 3 at the end.`,
		Example: `  echo '{"ack":40,"ackpush":20,"other":1,"packets":500,"bytes":50000,"first_seen":0,"last_seen":3600}' |
    minecanary explain --scorer nemea --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !(threshold >= 0 && threshold <= 1000) {
				return usagef("--threshold: %g is not within 0 and 1000", threshold)
			}
			s, err := score.New(scorer, threshold)
			if err != nil {
				return usageError{err}
			}
			return interruptible(c.Context(), func() error { return explain(e.stdin, e.stdout, s, asJSON) })
		},
	}
	c.Flags().StringVar(&scorer, "scorer", "canary", "scorer: canary or nemea")
	c.Flags().Float64Var(&threshold, "threshold", 0, "points to pass; 0: the scorer's own")
	c.Flags().BoolVar(&asJSON, "json", false, "print NDJSON")
	complete(c, "scorer", score.Names()...)
	return c
}

func explain(in io.Reader, out io.Writer, s score.Scorer, asJSON bool) error {
	lines := bufio.NewReaderSize(in, maxExplainLine)
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	bad := false
	for number := 1; ; number++ {
		line, rerr := lines.ReadSlice('\n')
		if len(line) == 0 && errors.Is(rerr, io.EOF) {
			break
		}
		result, err := explainLine(line, s)
		for errors.Is(rerr, bufio.ErrBufferFull) {
			err = fmt.Errorf("longer than %d bytes", maxExplainLine)
			_, rerr = lines.ReadSlice('\n')
		}
		if rerr != nil && !errors.Is(rerr, io.EOF) {
			return errors.Join(fmt.Errorf("read standard input: %w", rerr), w.Flush())
		}
		switch {
		case err != nil && asJSON:
			bad = true
			err = enc.Encode(struct {
				Error string `json:"error"`
			}{fmt.Sprintf("line %d: %v", number, err)})
		case err != nil:
			bad = true
			_, err = fmt.Fprintf(w, "error: line %d: %v\n", number, err)
		case asJSON:
			err = enc.Encode(result)
		default:
			err = printScore(w, result)
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if bad {
		return errPartial
	}
	return nil
}

func printScore(w io.Writer, s minecanary.Score) error {
	word := "below"
	if s.Passed {
		word = "passed"
	}
	_, err := fmt.Fprintf(w, "%s %g of %g %s", s.Scorer, s.Points, s.Threshold, word)
	for _, c := range s.Criteria {
		if err == nil {
			_, err = fmt.Fprintf(w, "; %s=%g (%s) %+g", c.Name, c.Value, c.Limit, c.Points)
		}
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}

// maxExact is 2^53: every whole number up to it has a float64 of its own.
const maxExact = 1 << 53

func explainLine(line []byte, s score.Scorer) (minecanary.Score, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var raw map[string]json.RawMessage
	if err := d.Decode(&raw); err != nil || raw == nil {
		return minecanary.Score{}, errors.New("not a JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return minecanary.Score{}, errors.New("more than one JSON value")
	}
	var in explainInput
	for _, f := range []struct {
		key      string
		to       *float64
		negative bool
	}{
		{"ack", &in.Ack, false},
		{"ackpush", &in.AckPush, false},
		{"other", &in.Other, false},
		{"packets", &in.Packets, false},
		{"bytes", &in.Bytes, false},
		{"first_seen", &in.FirstSeen, true},
		{"last_seen", &in.LastSeen, true},
		{"server_packets", &in.ServerPackets, false},
		{"server_bytes", &in.ServerBytes, false},
		{"client_payload", &in.ClientPayload, false},
		{"server_payload", &in.ServerPayload, false},
		{"server_port", &in.ServerPort, false},
	} {
		v, ok := raw[f.key]
		if !ok || string(v) == "null" {
			continue
		}
		if err := json.Unmarshal(v, f.to); err != nil {
			return minecanary.Score{}, fmt.Errorf("%s: not a number", f.key)
		}
		if !f.negative && *f.to < 0 || math.Abs(*f.to) > maxExact {
			return minecanary.Score{}, fmt.Errorf("%s: out of range", f.key)
		}
		if !f.negative && *f.to != math.Trunc(*f.to) {
			return minecanary.Score{}, fmt.Errorf("%s: not a whole number", f.key)
		}
	}
	if s.Name() == "nemea" {
		n := score.Nemea{
			Ack: uint64(in.Ack), AckPush: uint64(in.AckPush), Other: uint64(in.Other),
			Packets: uint64(in.Packets), Bytes: uint64(in.Bytes),
			FirstSeen: int64(math.Floor(in.FirstSeen)), LastSeen: int64(math.Floor(in.LastSeen)),
		}
		return n.Explain(s.Threshold()), nil
	}
	if math.Abs(in.FirstSeen) > math.MaxUint32 || math.Abs(in.LastSeen) > math.MaxUint32 {
		return minecanary.Score{}, errors.New("first_seen or last_seen: out of range")
	}
	if in.ServerPort > math.MaxUint16 || in.Ack+in.AckPush+in.Other > math.MaxUint32 {
		return minecanary.Score{}, errors.New("server_port or slices: out of range")
	}
	a := minecanary.Aggregate{
		Ack: uint32(in.Ack), AckPush: uint32(in.AckPush), Other: uint32(in.Other), Records: 1,
		ClientPackets: uint64(in.Packets), ClientBytes: uint64(in.Bytes), ClientPayload: uint64(in.ClientPayload),
		ServerPackets: uint64(in.ServerPackets), ServerBytes: uint64(in.ServerBytes), ServerPayload: uint64(in.ServerPayload),
		First: int64(in.FirstSeen * 1e6), Last: int64(in.LastSeen * 1e6),
	}
	return s.Explain(uint16(in.ServerPort), &a), nil
}
