package decode

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/slicer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source hands over prepared batches.
type source struct{ batches []consumer.Batch }

func (s *source) Connect(context.Context) error { return nil }
func (s *source) Close() error                  { return nil }

func (s *source) Read(context.Context) (consumer.Batch, consumer.AckFunc, error) {
	if len(s.batches) == 0 {
		return consumer.Batch{}, nil, io.EOF
	}
	b := s.batches[0]
	s.batches = s.batches[1:]
	return b, func(context.Context, error) error { return nil }, nil
}

// cut makes batches of a file, at line ends chosen by rng.
func cut(name, text string, rng *rand.Rand) []consumer.Batch {
	var out []consumer.Batch
	lines := strings.SplitAfter(text, "\n")
	number, offset := int64(1), int64(0)
	for i := 0; i < len(lines); {
		n := min(1+rng.IntN(4), len(lines)-i)
		data := strings.Join(lines[i:i+n], "")
		out = append(out, consumer.Batch{
			Partition: name, Name: name, Data: []byte(data), FirstLine: number, LineStart: offset, NewFile: i == 0,
			Next: consumer.Position{Offset: offset + int64(len(data))}, EOF: i+n == len(lines),
		})
		number += int64(n)
		offset += int64(len(data))
		i += n
	}
	return out
}

type outcome struct {
	slices    []minecanary.Slices
	sightings []minecanary.Sighting
	bad       []string
	counts    Counts
	order     []int64
}

func run(t *testing.T, cfg Config, batches []consumer.Batch) outcome {
	t.Helper()
	var o outcome
	cfg.Slicer = slicer.New(slicer.Config{Virtual: time.Minute})
	cfg.OnBad = func(b Bad) error {
		o.bad = append(o.bad, fmt.Sprintf("%s:%d:%d %s %.12q", b.Name, b.Line, b.Offset, b.Reason, b.Data))
		return nil
	}
	s := New(cfg)
	out := make(chan Result)
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context(), &source{batches}, out) }()
	for r := range out {
		o.slices = append(o.slices, slices.Clone(r.Slices)...)
		o.sightings = append(o.sightings, r.Sightings...)
		o.order = append(o.order, r.Next.Offset)
		if r.Release != nil {
			r.Release()
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	o.counts = s.Counts()
	return o
}

const (
	connLine    = `{"ts":1751446436.4,"uid":"CJ%d","id.orig_h":"10.0.0.%d","id.orig_p":48722,"id.resp_h":"203.0.113.15","id.resp_p":3333,"proto":"tcp","duration":720.5,"orig_bytes":492,"resp_bytes":665,"conn_state":"SF","history":"ShADadFf","orig_pkts":707,"orig_ip_bytes":86076,"resp_pkts":664,"resp_ip_bytes":101144%s}` + "\n"
	interimLine = `{"ts":1751446436.4,"uid":"CJ%d","id.orig_h":"10.0.0.%d","id.orig_p":48722,"id.resp_h":"203.0.113.15","id.resp_p":3333,"proto":"tcp","history":"ShADad","seq":2,"final":false,"slice_start":1751447036.0,"slice_end":1751447336.0,"d_orig_pkts":7,"d_orig_ip_bytes":700,"d_resp_pkts":6,"d_resp_ip_bytes":600,"orig_pkts":9,"orig_ip_bytes":900,"resp_pkts":9,"resp_ip_bytes":900}` + "\n"
	sslLine     = `{"ts":1751446436.4,"uid":"CJ1","id.orig_h":"10.0.0.1","id.orig_p":48722,"id.resp_h":"203.0.113.15","id.resp_p":3333,"version":"TLSv13","cipher":"x"}` + "\n"
)

func conn(n int) string { return fmt.Sprintf(connLine, n, n, "") }

func TestOrderAndCounts(t *testing.T) {
	var text strings.Builder
	for i := range 60 {
		switch i % 10 {
		case 3:
			text.WriteString("not JSON\n")
		case 5:
			text.WriteString(sslLine)
		case 7:
			text.WriteString("\n")
		default:
			text.WriteString(conn(i))
		}
	}
	for seed := range uint64(20) {
		o := run(t, Config{Workers: 3}, cut("a.log", text.String(), rand.New(rand.NewPCG(seed, 1))))
		if !slices.IsSorted(o.order) {
			t.Fatalf("results out of order: %v", o.order)
		}
		if len(o.slices) != 42 || o.counts.Records != 42 || o.counts.Bad["json"] != 6 || len(o.bad) != 6 {
			t.Fatalf("%d slices, counts %+v, bad %v", len(o.slices), o.counts, o.bad)
		}
		if want := fmt.Sprintf("a.log:4:%d json %q", strings.Index(text.String(), "not JSON"), "not JSON"); o.bad[0] != want {
			t.Fatalf("got %s, want %s", o.bad[0], want)
		}
		if o.counts.Packets != 42*(707+664) || o.counts.IPBytes != 42*(86076+101144) {
			t.Fatalf("%d packets, %d IP bytes", o.counts.Packets, o.counts.IPBytes)
		}
	}
}

// TestFormIsFixedByTheFirstLine: what does not fit the form is bad, and another file is another matter.
func TestFormIsFixedByTheFirstLine(t *testing.T) {
	const tsv = "#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n" +
		"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tinterval\tstring\tcount\tcount\tcount\tcount\n"
	row := "1751446436.4\tC1\t10.0.0.1\t40000\t203.0.113.1\t3333\ttcp\t700.0\tShADadFf\t100\t9000\t90\t8000\n"
	for _, tt := range []struct {
		name, text   string
		form         consumer.Form
		records, bad int
	}{
		{"JSON with a comment", conn(1) + "#separator \\x09\n" + conn(2), consumer.FormUnknown, 2, 1},
		{"TSV with JSON", tsv + row + conn(1) + row, consumer.FormUnknown, 2, 1},
		{"TSV, a second header with other columns", tsv + row + "#close\n" + strings.NewReplacer("uid\t", "", "time\tstring\t", "time\t").Replace(tsv) + strings.Replace(row, "C1\t", "", 1), consumer.FormUnknown, 2, 0},
		{"nfdump", csvHeader + csvRow + csvRow + csvEnd, consumer.FormUnknown, 2, 0},
		{"nfdump twice, with other columns", csvHeader + csvRow + csvEnd + "sp,dp,sa,da,pr,flg,ipkt,ibyt,ts\n40000,3333,10.0.0.1,203.0.113.1,6,24,9,900,1751446436.5\n" + csvEnd, consumer.FormUnknown, 2, 0},
		{"nfdump with JSON", csvHeader + csvRow + conn(1) + csvRow, consumer.FormUnknown, 2, 1},
		{"nfdump, forced, without a header", csvRow + csvEnd, consumer.FormNfdump, 0, 1},
		{"garbage first", "x\ny\n" + conn(1), consumer.FormUnknown, 1, 2},
		{"forced", row + conn(1), consumer.FormZeekJSON, 1, 1},
		{"nothing recognised", "a\nb\n\n", consumer.FormUnknown, 0, 2},
		{"empty", "", consumer.FormUnknown, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(10) {
				o := run(t, Config{Form: tt.form, Workers: 2}, cut("a", tt.text, rand.New(rand.NewPCG(seed, 1))))
				// Lines that come in batches before the first recognised one are bad, whatever they are later.
				if int(o.counts.Records) != tt.records || len(o.bad) != tt.bad {
					t.Fatalf("seed %d: %d records, bad %v, counts %+v", seed, o.counts.Records, o.bad, o.counts)
				}
			}
		})
	}
}

// A file as nfdump writes it: header, row, and what stands behind the rows.
const (
	csvHeader = "ts,te,td,sa,da,sp,dp,pr,flg,ipkt,ibyt\n"
	csvRow    = "2025-07-02 08:54:02,2025-07-02 08:55:01,59.000,10.0.0.1,203.0.113.1,40000,3333,TCP,...AP...,9,900\n"
	csvEnd    = "Summary\nflows,bytes,packets,avg_bps,avg_pps,avg_bpp\n2,1800,18,244,0,100\n"
)

// TestResumedCSV: the header comes with the batch when a file is read on from its middle.
func TestResumedCSV(t *testing.T) {
	b := consumer.Batch{
		Partition: "a", Name: "a", NewFile: true, LineStart: 1000, Header: []byte(csvHeader), Data: []byte(csvRow + csvEnd),
	}
	o := run(t, Config{}, []consumer.Batch{b})
	if o.counts.Records != 1 || o.counts.Skipped["summary"] != 3 || len(o.bad) != 0 || o.slices[0].AckPush != 1 {
		t.Errorf("%+v, bad %v", o.counts, o.bad)
	}
}

// TestNoFlags: rows whose flags are not known are counted, and only those of TCP.
func TestNoFlags(t *testing.T) {
	text := csvHeader + csvRow + strings.Replace(csvRow, "...AP...", "........", 1) +
		strings.NewReplacer("...AP...", "........", "TCP", "UDP").Replace(csvRow)
	o := run(t, Config{}, []consumer.Batch{{Partition: "a", Name: "a", NewFile: true, FirstLine: 1, Data: []byte(text)}})
	if o.counts.Records != 3 || o.counts.NoFlags != 1 || o.counts.Slices != 2 || len(o.slices) != 2 || o.slices[1].Other != 1 {
		t.Errorf("%+v", o)
	}
}

// TestResumedTSV: the header comes with the batch when a file is read on from its middle.
func TestResumedTSV(t *testing.T) {
	const header = "#separator \\x09\n#path\tconn\n#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n"
	b := consumer.Batch{
		Partition: "a", Name: "a", NewFile: true, LineStart: 1000, Header: []byte(header),
		Data: []byte("1751446436.4\t10.0.0.1\t40000\t203.0.113.1\t3333\ttcp\t100\t9000\t90\t8000\n"),
	}
	if o := run(t, Config{}, []consumer.Batch{b}); o.counts.Records != 1 || len(o.bad) != 0 {
		t.Errorf("%+v, bad %v", o.counts, o.bad)
	}
}

func TestTooLongLinesAreToldAndCostNothing(t *testing.T) {
	batches := []consumer.Batch{
		{Partition: "a", Name: "a", NewFile: true, FirstLine: 1, Data: []byte(conn(1))},
		{Partition: "a", Name: "a", FirstLine: 2, LineStart: 400, TooLongLines: []int64{2}},
		{Partition: "a", Name: "a", FirstLine: 3, LineStart: 9000, Data: []byte("bad\n" + conn(2))},
	}
	o := run(t, Config{}, batches)
	want := []string{`a:2:400 too_long ""`, `a:3:9000 json "bad"`}
	if diff := cmp.Diff(want, o.bad); diff != "" || o.counts.Records != 2 || o.counts.Lines != 4 {
		t.Errorf("%s\n%+v", diff, o.counts)
	}
}

func TestMarkedRows(t *testing.T) {
	marked := func(n int) string { return fmt.Sprintf(connLine, n, n, `,"interim_seq":1`) }
	interim := func(n int) string { return fmt.Sprintf(interimLine, n, n) }
	text := marked(1) + interim(1) + marked(2) + conn(3) + interim(4) + marked(4)
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 1))
		o := run(t, Config{Marked: DeferMarked}, cut("a", text, rng))
		if o.counts.Records != 4 || o.counts.Skipped["interim"] != 2 || len(o.slices) != 4 {
			t.Fatalf("deferred: %d slices, %+v", len(o.slices), o.counts)
		}
		if o.counts.Packets != 2*13+2*(707+664) {
			t.Fatalf("deferred: %d packets", o.counts.Packets)
		}
		o = run(t, Config{Marked: SkipMarked}, cut("a", text, rng))
		if o.counts.Records != 3 || o.counts.Skipped["interim"] != 3 {
			t.Fatalf("skipped: %+v", o.counts)
		}
	}
	o := run(t, Config{Marked: SkipMarked}, cut("a", marked(1)+conn(2)+marked(3), rand.New(rand.NewPCG(1, 1))))
	if o.counts.InterimMissing != 2 {
		t.Errorf("%d rows without interim records told, want 2", o.counts.InterimMissing)
	}
}

// FuzzStage throws anything at the whole stage: every line is a record, gives sightings, is skipped or bad, whatever the batches are.
func FuzzStage(f *testing.F) {
	f.Add([]byte(conn(1)+"x\n"+conn(2)), uint64(1))
	f.Add([]byte("#fields\tts\n1\n"), uint64(2))
	f.Add([]byte(`{"event_type":"flow"}`), uint64(3))
	f.Add([]byte(miningLine+"\n"+dnsLine+"\n"+sslNamed), uint64(4))
	f.Add([]byte(netflowOf(1)+flowOf(1)+flowOf(2)+netflowOf(2)), uint64(5))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		o := run(t, Config{Workers: 2, Marked: DeferMarked}, cut("a", string(data), rand.New(rand.NewPCG(seed, 1))))
		lines := bytes.Count(data, []byte("\n"))
		if len(data) > 0 && data[len(data)-1] != '\n' {
			lines++
		}
		if got := o.counts.Records + o.counts.Sighted + Total(o.counts.Skipped) + Total(o.counts.Bad); got != uint64(lines) || o.counts.Lines != uint64(lines) {
			t.Errorf("%d lines, %d accounted for: %+v", lines, got, o.counts)
		}
	})
}
