package decode

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/eve"
	"github.com/minecanary/minecanary/consumer/slicer"
)

// texts is a source of whole files.
type texts struct{ left []consumer.Batch }

func (*texts) Connect(context.Context) error { return nil }

func (t *texts) Read(context.Context) (consumer.Batch, consumer.AckFunc, error) {
	if len(t.left) == 0 {
		return consumer.Batch{}, nil, io.EOF
	}
	b := t.left[0]
	t.left = t.left[1:]
	return b, func(context.Context, error) error { return nil }, nil
}

func (*texts) Close() error { return nil }

// decodeFiles runs a stage over files, name and text by turns.
func decodeFiles(t *testing.T, cfg Config, files ...string) (all []minecanary.Slices, counts Counts) {
	t.Helper()
	src := &texts{}
	for i := 0; i < len(files); i += 2 {
		src.left = append(src.left, consumer.Batch{Partition: files[i], Name: files[i], Data: []byte(files[i+1]), NewFile: true, FirstLine: 1, EOF: true})
	}
	cfg.Slicer = slicer.New(slicer.Config{Virtual: time.Minute})
	stage, out := New(cfg), make(chan Result, len(files))
	if err := stage.Run(t.Context(), src, out); err != nil {
		t.Fatal(err)
	}
	for r := range out {
		all = append(all, r.Slices...)
	}
	return all, stage.Counts()
}

// TestLongAndInterim: of one connection conn_long, conn_interim and conn count once, whichever come and in any order where
// the input is finite; of one that grows, interim records count and others do not.
func TestLongAndInterim(t *testing.T) {
	const connection = `{"ts":1751446451.1,"uid":"C7MwKA1QSEerQBC5W6","id.orig_h":"10.20.1.17","id.orig_p":46720,"id.resp_h":"198.51.100.17","id.resp_p":14444,"proto":"tcp","duration":1008.7,"orig_bytes":539,"resp_bytes":3917,"orig_pkts":13,"orig_ip_bytes":1223,"resp_pkts":12,"resp_ip_bytes":4549,"history":"ShADad"`
	interim := []string{"conn_interim.log", connection + `,"seq":1,"final":false,"slice_start":1751446451.1,"slice_end":1751447459.8,"d_orig_bytes":539,"d_resp_bytes":3917,"d_orig_pkts":13,"d_orig_ip_bytes":1223,"d_resp_pkts":12,"d_resp_ip_bytes":4549}`}
	long := []string{"conn_long.log", connection + "}"}
	conn := []string{"conn.log", connection + `,"interim_seq":1,"conn_state":"SF"}`}
	for _, tt := range []struct {
		name   string
		marked Marked
		files  [][]string
	}{
		{"all", DeferMarked, [][]string{interim, long, conn}},
		{"all, long first", DeferMarked, [][]string{long, conn, interim}},
		{"long and interim", DeferMarked, [][]string{long, interim}},
		{"long alone", DeferMarked, [][]string{long}},
		{"growing", SkipMarked, [][]string{interim, long, conn}},
		{"growing, long alone", SkipMarked, [][]string{long}},
	} {
		var files []string
		for _, f := range tt.files {
			files = append(files, f...)
		}
		all, counts := decodeFiles(t, Config{Marked: tt.marked}, files...)
		packets := uint64(0)
		for _, s := range all {
			packets += s.ClientPackets
		}
		if packets != 13 || Total(counts.Bad) > 0 || counts.Records != 1 {
			t.Errorf("%s: %d packets of %d records, want 13 of 1; bad %v", tt.name, packets, counts.Records, counts.Bad)
		}
	}
}

// TestMeterSIDs: the configuration reaches the decoder.
func TestMeterSIDs(t *testing.T) {
	line := `{"timestamp":"2025-07-02T08:54:30.0+0000","flow_id":7,"event_type":"alert","src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":3333,"proto":"TCP","direction":"to_server","alert":{"gid":1,"signature_id":77,"signature":"x"},"flow":{"pkts_toserver":10,"pkts_toclient":9,"bytes_toserver":900,"bytes_toclient":800,"start":"2025-07-02T08:53:56.0+0000"}}`
	if all, _ := decodeFiles(t, Config{EVE: eve.Config{MeterSIDs: []uint32{77}}}, "eve.json", line); len(all) != 1 || !all[0].Cumulative {
		t.Errorf("slices %v", all)
	}
	if all, counts := decodeFiles(t, Config{}, "eve.json", strings.Repeat(line+"\n", 2)); len(all) != 0 || counts.Skipped[eve.ReasonAlert] != 2 {
		t.Errorf("another rule's: slices %v, skipped %v", all, counts.Skipped)
	}
}
