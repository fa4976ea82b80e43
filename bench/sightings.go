//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What the logs beside conn.log have: names for 750,000 addresses, and some miners.
const (
	tlsRows, dnsRows, miningRows = 250_000, 500_000, 1000
)

// runSightings measures what reading ssl.log, dns.log and mining.log beside conn.log adds, and what of it is the joining:
// all logs together take longer than conn.log and the others by themselves.
func runSightings(dir, binary string, runs int) error {
	conn := filepath.Join(dir, "conn1m.json")
	if err := generate(conn, filepath.Join(dir, "conn1m.tsv")); err != nil {
		return err
	}
	side := []string{filepath.Join(dir, "ssl.log"), filepath.Join(dir, "dns.log"), filepath.Join(dir, "mining.log")}
	if err := generateSide(side); err != nil {
		return err
	}
	detect := func(logs ...string) []string {
		return append([]string{binary, "detect", "--probe", "off", "--scorer", "nemea"}, logs...)
	}
	commands := []command{
		{"conn.log", detect(conn)},
		{"ssl, dns, mining.log", detect(side...)},
		{"all of them", detect(append(slices.Clone(side), conn)...)},
	}
	results, err := measure(commands, runs)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d connections; beside them %d rows of ssl.log, %d of dns.log, %d of mining.log\n", lines, tlsRows, dnsRows, miningRows)
	table(commands, results)
	var joining, adding []float64
	for i := range results[0] {
		all, one, two := results[2][i].cpu.Seconds(), results[0][i].cpu.Seconds(), results[1][i].cpu.Seconds()
		joining = append(joining, (all-one-two)*1e6/lines)
		adding = append(adding, (all-one)*1e6/lines)
	}
	slices.Sort(joining)
	slices.Sort(adding)
	n := len(joining) / 2
	fmt.Printf("\nCPU per conn record, microseconds: joining %.2f (min %.2f, max %.2f); reading the other logs and joining %.2f\n", joining[n], joining[0], joining[len(joining)-1], adding[n])
	return nil
}

// generateSide writes the logs unless they are there already.
func generateSide(names []string) error {
	if _, err := os.Stat(names[len(names)-1]); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	rows := []struct {
		n    int
		line func(i int) string
	}{
		{tlsRows, func(i int) string {
			return fmt.Sprintf(`{"ts":%.6f,"uid":"CS%d","id.orig_h":"10.0.%d.%d","id.orig_p":40000,"id.resp_h":"%s","id.resp_p":443,"version":"TLSv13","cipher":"TLS_AES_128_GCM_SHA256","curve":"x25519","server_name":"host-%d.service.example.com","resumed":false,"established":true,"ssl_history":"CsiI"}`,
				1767225600+float64(i)*0.0144, i, i>>8&255, i&255, sideAddr(i), i)
		}},
		{dnsRows, func(i int) string {
			return fmt.Sprintf(`{"ts":%.6f,"uid":"CD%d","id.orig_h":"10.0.%d.%d","id.orig_p":40000,"id.resp_h":"10.0.0.53","id.resp_p":53,"proto":"udp","trans_id":%d,"rtt":0.02,"query":"name-%d.cdn.example.net","qclass":1,"qclass_name":"C_INTERNET","qtype":1,"qtype_name":"A","rcode":0,"rcode_name":"NOERROR","AA":false,"TC":false,"RD":true,"RA":true,"Z":0,"answers":["%s"],"TTLs":[60.0],"rejected":false}`,
				1767225600+float64(i)*0.0072, i, i>>8&255, i&255, i&0xffff, i, sideAddr(tlsRows+i))
		}},
		{miningRows, func(i int) string {
			return fmt.Sprintf(`{"ts":%.6f,"uid":"CM%d","id.orig_h":"10.1.%d.%d","id.orig_p":40000,"id.resp_h":"%s","id.resp_p":3333,"protocol":"monero","seen":"both","turned":false,"method":"login","agent":"XMRig/6.21.0","login":"wallet-%d"}`,
				1767225600+float64(i)*3.6, i, i>>8&255, i&255, sideAddr(i), i)
		}},
	}
	for i, name := range names {
		f, err := os.Create(name + ".tmp")
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(f, 1<<20)
		for k := range rows[i].n {
			fmt.Fprintln(w, strings.TrimSpace(rows[i].line(k)))
		}
		if err := errors.Join(w.Flush(), f.Close(), os.Rename(name+".tmp", name)); err != nil {
			return err
		}
	}
	return nil
}

// sideAddr is an address for each number.
func sideAddr(i int) string {
	return fmt.Sprintf("%d.%d.%d.%d", 11+i>>24&127, i>>16&255, i>>8&255, i&255)
}
