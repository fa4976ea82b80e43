package app

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/importer"
)

// importedPool is the pool of rows that name none.
const importedPool = "imported"

// importTold is how many refused rows, and how many changed ones, are told.
const importTold = 20

type importOptions struct {
	format     string
	pool       string
	name       string
	source     string
	asOf       string
	confidence string
	strict     bool
	own        []string
	state      string
}

func newCatalogueImport(e env) *cobra.Command {
	o := importOptions{confidence: string(catalog.Low)}
	c := &cobra.Command{
		Use:   "import [flags] FILE|-",
		Short: "turn a file of others into a catalogue file, with what it adds to the catalogue",
		Long: `Import reads what others know of pools and prints a catalogue file with what the catalogue does not know yet, to be
looked through and kept with your own files. A pool that the catalogue has comes with all that it has there, because a
pool of your own replaces the shipped one. Formats:

  list          a name, address, host:port or miner's URL a line
  hosts         a hosts file of a blocker: 0.0.0.0 name
  csv           a header of our words: pool, server, port, tls, coin, dialect, … (docs/catalog.md)
  misp          MISP's JSON of events
  smashed-json  an object of sMaSheD's tables: pools, servers, ports, cryptos
  smashed-csv   content.csv of sMaSheD's api-server
  catalogue     a catalogue file

Without --format the content decides, if it can be only one. Rows that do not name their pool go to that of --pool.
What is refused is told by file and line, and the exit code is 3; with --strict nothing is printed then.`,
		Example: `  minecanary catalogue import miners.txt > pools.d/miners.yaml
  minecanary catalogue import --strict --format csv --source https://example.org/pools --as-of 2026-04-21 pools.csv
  minecanary catalogue import --pool my-pool --name "My Pool" -`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runImport(e, o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.format, "format", "", "form of the file: "+strings.Join(importFormats(), ", ")+"; empty: by its content")
	f.StringVar(&o.pool, "pool", "", `id of the pool for rows that name none; empty: "imported"`)
	f.StringVar(&o.name, "name", "", "name of that pool; empty: that of the catalogue, or the id")
	f.StringVar(&o.source, "source", "", `web page the rows are from, for rows that do not say; empty: "import of FILE"`)
	f.StringVar(&o.asOf, "as-of", "", "day of which the rows speak (2026-04-21), for rows that do not say; empty: today")
	f.StringVar(&o.confidence, "confidence", o.confidence, "how far to trust rows that do not say: "+strings.Join(confidences(), ", "))
	f.BoolVar(&o.strict, "strict", false, "print nothing if a row is refused")
	filesFlag(c, &o.own, &o.state)
	complete(c, "format", importFormats()...)
	complete(c, "confidence", confidences()...)
	return c
}

func importFormats() []string {
	var names []string
	for _, f := range importer.Formats() {
		names = append(names, string(f))
	}
	return names
}

func confidences() []string {
	var names []string
	for _, c := range catalog.Confidences() {
		names = append(names, string(c))
	}
	return names
}

// check refuses flags that every row would be refused for.
func (o *importOptions) check() error {
	if o.format != "" && !slices.Contains(importFormats(), o.format) {
		return usagef("--format: %q is none of %s", o.format, strings.Join(importFormats(), ", "))
	}
	p := catalog.Pool{
		ID: cmp.Or(o.pool, importedPool), Name: cmp.Or(o.name, importedPool), Kind: catalog.Public,
		Provenance: catalog.Provenance{Source: o.source, AsOf: o.asOf, Confidence: catalog.Confidence(o.confidence)},
	}
	if reasons := p.Check(nil); len(reasons) > 0 {
		return usagef("%s", reasons[0])
	}
	return nil
}

// plain gives a text without what cannot be printed.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

func runImport(e env, o importOptions, file string) error {
	if err := o.check(); err != nil {
		return err
	}
	known, partial := readCatalogue(e.stderr, o.own, o.state)
	if known == nil {
		return partial
	}
	name, data, err := importData(e.stdin, file)
	if err != nil {
		return err
	}
	format := importer.Format(o.format)
	if format == "" {
		var ok bool
		if format, ok = importer.Guess(data); !ok {
			return hintError{fmt.Errorf("%s: cannot tell the format", name), "--format takes one of " + strings.Join(importFormats(), ", ")}
		}
		say(e.stderr, "%s: read as %s", name, format)
	}
	id := cmp.Or(o.pool, importedPool)
	if p := known.Pool(id); p != nil && o.name == "" {
		o.name = p.Name
	}
	source := "import of " + plain(filepath.Base(name))
	source = strings.ToValidUTF8(source[:min(len(source), catalog.MaxText)], "")
	layer, refused, err := importer.Import(format, data, importer.Options{
		Name: name, Pool: id, PoolName: cmp.Or(o.name, o.pool), Provenance: catalog.Provenance{
			Source: cmp.Or(o.source, source), AsOf: cmp.Or(o.asOf, time.Now().UTC().Format(time.DateOnly)),
			Confidence: catalog.Confidence(o.confidence),
		},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return errors.Join(writeImport(e, o, known, layer, refused), partial)
}

// importData reads a file, or standard input for "-", up to the bound of imports.
func importData(stdin io.Reader, file string) (name string, data []byte, err error) {
	name, in := "standard input", stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", nil, err
		}
		defer func() { _ = f.Close() }() // it was only read
		name, in = file, f
	}
	data, err = io.ReadAll(io.LimitReader(in, importer.MaxData+1))
	if err != nil {
		return "", nil, fmt.Errorf("read %s: %w", name, err)
	}
	return name, data, nil
}

// writeImport prints what is new and tells what was done.
func writeImport(e env, o importOptions, known *catalog.Catalog, layer catalog.Layer, refused []catalog.Problem) error {
	for _, p := range refused[:min(len(refused), importTold)] {
		say(e.stderr, "%s", p.Error())
	}
	if more := len(refused) - importTold; more > 0 {
		say(e.stderr, "and %d more", more)
	}
	if o.strict && len(refused) > 0 {
		say(e.stderr, "%d refused; nothing is printed because of --strict", len(refused))
		return errPartial
	}
	out, report := importer.Merge(known, layer)
	for _, c := range report.Changed[:min(len(report.Changed), importTold)] {
		where := c.Host
		if c.Port != 0 {
			where = fmt.Sprintf("%s:%d", c.Host, c.Port)
		}
		say(e.stderr, "changed: %s %s: %s", c.Pool, where, c.What)
	}
	if more := len(report.Changed) - importTold; more > 0 {
		say(e.stderr, "changed: %d more", more)
	}
	say(e.stderr, "%d new, %d changed, %d known already, %d refused; %s, %s, %d removed", report.New, len(report.Changed), report.Same,
		len(refused), counted(report.Pools, "pool"), counted(report.Coins, "coin"), len(out.Removed))
	var b bytes.Buffer
	if err := catalog.Write(&b, out); err != nil {
		return err
	}
	if b.Len() > catalog.MaxFile {
		return hintError{fmt.Errorf("the catalogue file would be larger than %d bytes", catalog.MaxFile), "import the file in parts"}
	}
	if _, err := e.stdout.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if len(refused) > 0 {
		return errPartial
	}
	return nil
}
