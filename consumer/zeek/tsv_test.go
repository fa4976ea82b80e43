package zeek_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/zeek"
)

// row is connLine as TSV, column by column in header's order.
const row = "1751446436.500000\tCN9Zc93QHFkOb2MTr9\t10.20.1.15\t47120\t203.0.113.15\t3333\ttcp\tssl\t7200.013000\t49172\t66740\tSF\tT\tF\t0\tShADadFf\t705\t85840\t666\t101380\t-\t6"

// column gives the number of a column of header.
func column(t *testing.T, name string) int {
	t.Helper()
	for line := range strings.SplitSeq(header, "\n") {
		if rest, ok := strings.CutPrefix(line, "#fields\t"); ok {
			if n := slices.Index(strings.Split(rest, "\t"), name); n >= 0 {
				return n
			}
		}
	}
	t.Fatalf("no column %s", name)
	return -1
}

// withColumns gives the row with columns changed.
func withColumns(t *testing.T, changes ...string) string {
	t.Helper()
	columns := strings.Split(row, "\t")
	for i := 0; i < len(changes); i += 2 {
		columns[column(t, changes[i])] = changes[i+1]
	}
	return strings.Join(columns, "\t")
}

func TestTSVRecords(t *testing.T) {
	type edit = func(r *minecanary.Record)
	for _, tc := range []struct {
		name    string
		changes []string
		edit    edit
	}{
		{name: "as Zeek writes it"},
		{
			name: "unset", changes: []string{"service", "-", "duration", "-", "orig_bytes", "-", "resp_bytes", "-", "local_orig", "-", "local_resp", "-", "history", "-", "ip_proto", "-", "uid", "-"},
			edit: func(r *minecanary.Record) {
				r.Services, r.End, r.OrigPayload, r.RespPayload = minecanary.ServiceUnknown, r.Start, 85840-705*40, 101380-666*40
				r.OrigLocal, r.RespLocal, r.UID = 0, 0, minecanary.UID{}
				noFlags(r)
			},
		},
		{
			name: "empty", changes: []string{"service", "(empty)", "history", "(empty)"},
			edit: func(r *minecanary.Record) {
				noFlags(r)
				r.Services = minecanary.ServiceUnknown
			},
		},
		{
			name: "escapes", changes: []string{"uid", `\x43N9Zc93\\Q\x09\xzz\`, "service", `h\x74tp`, "proto", `\x74cp`},
			edit: func(r *minecanary.Record) {
				r.UID, r.Services = minecanary.NewUID([]byte("CN9Zc93\\Q\t\\xzz\\")), minecanary.ServiceHTTP
			},
		},
		{
			name: "list of services", changes: []string{"service", "ssl,-http,stratum"},
			edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceTLS | minecanary.ServiceStratum },
		},
		{
			name: "IPv6", changes: []string{"id.orig_h", "fe80::1%eth0", "id.resp_h", "2001:db8::2"},
			edit: func(r *minecanary.Record) {
				r.Orig, r.Resp = netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::2")
			},
		},
		{
			name: "digits without end", changes: []string{"duration", "0.00000149999999999999999999999"},
			edit: func(r *minecanary.Record) { r.End = r.Start + 1 },
		},
		{
			name: "exponent", changes: []string{"duration", "9.5e-05", "ts", "1.7514464365e9"},
			edit: func(r *minecanary.Record) { r.End = r.Start + 95 },
		},
		{name: "ISO time", changes: []string{"ts", "2025-07-02T08:53:56.500000Z"}},
		{
			name: "payload counter wrapped", changes: []string{"orig_bytes", "18446744073709551615"},
			edit: func(r *minecanary.Record) { r.OrigPayload = 85840 - 705*40 },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := connRecord()
			if tc.edit != nil {
				tc.edit(&want)
			}
			line := withColumns(t, tc.changes...)
			d := headed(t)
			for _, line := range []string{line, line + "\r"} {
				got := minecanary.Record{Kind: 9, Final: true, InterimSeq: 9, Sensor: "old", UID: minecanary.UID{1}, OrigFlags: 255}
				if out := d.Decode([]byte(line), &got); out != decoded {
					t.Fatalf("outcome %+v: %s", out, line)
				}
				if diff := cmp.Diff(want, got, addrs); diff != "" {
					t.Errorf("record (-want +got):\n%s\n%s", diff, line)
				}
			}
		})
	}
}

func TestTSVOutcomes(t *testing.T) {
	for _, tc := range []struct {
		name, line string
		want       consumer.Outcome
	}{
		{"empty", "", skip("empty")},
		{"blank", " \r", skip("empty")},
		{"tab alone", "\t", skip("empty")},
		{"header", "#close\t2026-11-21-03-17-10", skip("header")},
		{"column missing", row[:strings.LastIndexByte(row, '\t')], bad("columns")},
		{"column too many", row + "\t1", bad("columns")},
		{"last column empty", withColumns(t, "ip_proto", ""), bad("field")},
		{"JSON", connLine, bad("columns")},
		{"ts unset", withColumns(t, "ts", "-"), bad("field")},
		{"ts no number", withColumns(t, "ts", "now"), bad("field")},
		{"ts empty", withColumns(t, "ts", ""), bad("field")},
		{"proto empty", withColumns(t, "proto", "(empty)"), bad("field")},
		{"port no number", withColumns(t, "id.resp_p", "3333/tcp"), bad("field")},
		{"port with leading zero", withColumns(t, "id.resp_p", "03333"), bad("field")},
		{"boolean", withColumns(t, "local_orig", "true"), bad("field")},
		{"boolean of one letter", withColumns(t, "local_orig", "t"), bad("field")},
		{"duration no number", withColumns(t, "duration", "1m"), bad("field")},
		{"counter no number", withColumns(t, "orig_pkts", "nan"), bad("field")},
		{"address", withColumns(t, "id.resp_h", "host"), bad("address")},
		{"ts nan", withColumns(t, "ts", "nan"), bad("range")},
		{"duration inf", withColumns(t, "duration", "-inf"), bad("range")},
		{"duration negative", withColumns(t, "duration", "-1.000000"), bad("range")},
		{"counter negative", withColumns(t, "orig_pkts", "-1"), bad("range")},
		{"counter too large", withColumns(t, "orig_pkts", "9007199254740993"), bad("range")},
		{"port too large", withColumns(t, "id.resp_p", "65536"), bad("range")},
		{"no counters", withColumns(t, "orig_pkts", "-", "resp_pkts", "-"), skip("no_counters")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var rec minecanary.Record
			if out := headed(t).Decode([]byte(tc.line), &rec); out != tc.want {
				t.Errorf("outcome %+v, want %+v", out, tc.want)
			}
		})
	}
}

// feed decodes a text line by line and gives the outcomes of the lines and the last record.
func feed(d *zeek.TSV, text string) (outs []consumer.Outcome, rec minecanary.Record) {
	for line := range strings.SplitSeq(text, "\n") {
		var r minecanary.Record
		out := d.Decode([]byte(line), &r)
		if outs = append(outs, out); out == decoded {
			rec = r
		}
	}
	return outs, rec
}

func TestTSVHeaders(t *testing.T) {
	tab := func(s string) string { return strings.ReplaceAll(s, "|", "\t") }
	const (
		fields = "#fields|uid|ts|id.orig_h|id.orig_p|id.resp_h|id.resp_p|proto|service|orig_pkts|orig_ip_bytes|resp_pkts|resp_ip_bytes\n"
		line   = "C1|1.5|1.2.3.4|5|6.7.8.9|10|udp|http|1|84|1|84"
	)
	header, ok, columns := skip("header"), decoded, bad("columns")
	for _, tc := range []struct {
		name, text string
		want       []consumer.Outcome
		services   minecanary.Services
	}{
		{name: "none", text: tab(line), want: []consumer.Outcome{bad("no_header")}},
		{name: "no fields", text: tab("#path|conn\n" + line), want: []consumer.Outcome{header, bad("no_header")}},
		{name: "blank before", text: " \n\n", want: []consumer.Outcome{skip("empty"), skip("empty"), skip("empty")}},
		{name: "fields alone", text: tab(fields + line), want: []consumer.Outcome{header, ok}, services: minecanary.ServiceHTTP},
		{name: "byte order mark", text: "\xEF\xBB\xBF" + tab(fields+line), want: []consumer.Outcome{header, ok}, services: minecanary.ServiceHTTP},
		{
			name: "carriage returns", text: strings.ReplaceAll(tab("#separator \\x09\n#unset_field|x\n"+fields+line), "\n", "\r\n"),
			want: []consumer.Outcome{header, header, header, ok}, services: minecanary.ServiceHTTP,
		},
		{name: "other separator", text: "#separator |\n#path|conn\n" + fields + line, want: []consumer.Outcome{header, header, header, ok}, services: minecanary.ServiceHTTP},
		{name: "other separator as a number", text: "#separator \\x7C\n" + fields + line, want: []consumer.Outcome{header, header, ok}, services: minecanary.ServiceHTTP},
		{
			name: "other word for unset", text: tab("#unset_field|NULL\n" + fields + strings.Replace(line, "http", "NULL", 1)),
			want: []consumer.Outcome{header, header, ok}, services: minecanary.ServiceUnknown,
		},
		{
			name: "empty word for unset", text: tab("#unset_field|\n" + fields + strings.Replace(line, "http", "", 1)),
			want: []consumer.Outcome{header, header, ok}, services: minecanary.ServiceUnknown,
		},
		{
			name: "other word for empty", text: tab("#empty_field|EMPTY\n" + fields + strings.Replace(line, "http", "EMPTY", 1)),
			want: []consumer.Outcome{header, header, ok}, services: minecanary.ServiceUnknown,
		},
		{
			name: "service as a set", text: tab("#set_separator|;\n" + fields +
				"#types|string|time|addr|port|addr|port|enum|set[string]|count|count|count|count\n" + strings.Replace(line, "http", "http;ssl", 1)),
			want: []consumer.Outcome{header, header, header, ok}, services: minecanary.ServiceHTTP | minecanary.ServiceTLS,
		},
		{
			name: "equal columns, the first counts", text: tab(strings.Replace(fields, "\n", "|service\n", 1) + line + "|ssl"),
			want: []consumer.Outcome{header, ok}, services: minecanary.ServiceHTTP,
		},
		{
			name: "header in the middle", text: tab(fields + line + "\n#close|x\n#separator \\x09\n#path|conn\n" +
				strings.Replace(fields, "service", "x", 1) + line + "\n#fields|a|b\n" + line),
			want: []consumer.Outcome{header, ok, header, header, header, header, ok, header, columns}, services: minecanary.ServiceUnknown,
		},
		{name: "separator forgets the columns", text: tab(fields + "#separator \\x09\n" + line), want: []consumer.Outcome{header, header, bad("no_header")}},
		{name: "other log by path", text: tab("#path|ssl\n" + fields + line), want: []consumer.Outcome{header, header, skip("no_name")}},
		{name: "path in use twice", text: tab("#path|conn-3\n" + fields + line), want: []consumer.Outcome{header, header, ok}, services: minecanary.ServiceHTTP},
		{name: "other log by columns", text: tab("#fields|ts|uid|x\n1|C|2"), want: []consumer.Outcome{header, skip("other_log")}},
		{name: "no log by columns", text: tab("#fields|a|b\n1|2"), want: []consumer.Outcome{header, bad("unknown")}},
		{name: "log by a column", text: tab("#fields|_path|x\nssl|2"), want: []consumer.Outcome{header, skip("no_name")}},
		{name: "long separator", text: tab("#separator ||\n" + fields + line), want: []consumer.Outcome{bad("header"), header, ok}, services: minecanary.ServiceHTTP},
		{
			name: "impossible separators", text: "#separator a\n#separator \\x0a\n#separator \\x00\n#separator #\n#separator \\xzz\n#separator ",
			want: slices.Repeat([]consumer.Outcome{bad("header")}, 6),
		},
		{name: "long word for unset", text: tab("#unset_field|12345678"), want: []consumer.Outcome{bad("header")}},
		{name: "types without fields", text: tab("#types|a|b"), want: []consumer.Outcome{bad("header")}},
		{name: "types do not fit", text: tab(fields + "#types|a|b\n" + line), want: []consumer.Outcome{header, bad("header"), bad("no_header")}},
		{name: "fields without names", text: "#fields\n#fields2", want: []consumer.Outcome{bad("header"), header}},
		{
			name: "too many columns", text: tab("#fields" + strings.Repeat("|x", zeek.MaxColumns) + "\n#fields" + strings.Repeat("|x", zeek.MaxColumns+1)),
			want: []consumer.Outcome{header, bad("header")},
		},
		{name: "comments", text: tab(fields + "# a comment\n#\n" + line), want: []consumer.Outcome{header, header, header, ok}, services: minecanary.ServiceHTTP},
	} {
		t.Run(tc.name, func(t *testing.T) {
			outs, rec := feed(zeek.NewTSV(nil), tc.text)
			if diff := cmp.Diff(tc.want, outs); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if rec.Services != tc.services {
				t.Errorf("services %b, want %b", rec.Services, tc.services)
			}
		})
	}
}

// TestHeaderIsHandedOver checks that a header of one decoder serves another, and does not change under it.
func TestHeaderIsHandedOver(t *testing.T) {
	if h := zeek.NewTSV(nil).Header(); h != nil {
		t.Errorf("header %v before any line", h)
	}
	first := headed(t)
	h := first.Header()
	if h.Path() != "conn" {
		t.Errorf("path %q", h.Path())
	}
	second := zeek.NewTSV(h)
	feed(first, "#unset_field\tx\n#path\tdns\n#fields\ta")
	var got minecanary.Record
	if out := second.Decode([]byte(row), &got); out != decoded {
		t.Fatalf("outcome %+v", out)
	}
	if diff := cmp.Diff(connRecord(), got, addrs); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if first.Header() == h || first.Header().Path() != "dns" {
		t.Errorf("header %+v", first.Header())
	}
}

func port(p uint16) string { return strconv.FormatUint(uint64(p), 10) }

// TestTSVAgainstJSON draws records, writes them as TSV in any order of columns, and expects what JSON gives.
func TestTSVAgainstJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawRecord(t)
		list := render(t, &want, func(micros int64) string {
			return fmt.Sprintf("%d.%06d", micros/1_000_000, micros%1_000_000)
		})
		list = append(list,
			member{"id.orig_h", want.Orig.String()}, member{"id.orig_p", port(want.OrigPort)},
			member{"id.resp_h", want.Resp.String()}, member{"id.resp_p", port(want.RespPort)},
			member{"tunnel_parents", "(empty)"}, member{"id.vlan", "-"})
		list = rapid.Permutation(list).Draw(t, "order")
		var keys, values []string
		for _, m := range list {
			keys = append(keys, m.key)
			value := strings.Trim(m.value, `"`)
			switch value {
			case "true":
				value = "T"
			case "false":
				value = "F"
			}
			values = append(values, value)
		}
		d := zeek.NewTSV(nil)
		outs, got := feed(d, "#separator \\x09\n#fields\t"+strings.Join(keys, "\t")+"\n"+strings.Join(values, "\t"))
		if outs[2] != decoded {
			t.Fatalf("outcome %+v: %v %v", outs[2], keys, values)
		}
		if diff := cmp.Diff(want, got, addrs); diff != "" {
			t.Fatalf("record (-want +got):\n%s\n%v %v", diff, keys, values)
		}
	})
}
