package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary/prober/audit"
)

func newAudit(e env) *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "look after the record of probes",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var o auditOptions
	verify := &cobra.Command{
		Use:   "verify [flags] [FILE…]",
		Short: "tell whether the record of probes is as it was written",
		Long: `Verify reads the audit trail, in which every record holds a number and the hash of the one before, and tells for each
file how many records it has, where the chain first breaks, and how many records are missing. Files that were set aside
are read before the one that is written; the order in which they are given does not matter. Where the file's head
(FILE.head) stands beside it, an end that was cut off is found as well.

Without FILE it is the trail of the configuration (-c), or else the one that probe and detect write by default.

The chain has no key: against somebody who can write all the files, keep a copy of the head elsewhere.

Exit code 0 means that everything is in its place, 1 that something is not.`,
		Example: `  minecanary audit verify
  minecanary audit verify -c minecanary.yaml --json
  minecanary audit verify state/audit.ndjson*[0-9n]`,
		RunE: func(_ *cobra.Command, args []string) error { return runAuditVerify(e, o, args) },
	}
	verify.Flags().StringVarP(&o.config, "config", "c", "", "configuration file that names the trail")
	verify.Flags().BoolVar(&o.json, "json", false, "print one JSON object per file")
	c.AddCommand(verify)
	return c
}

type auditOptions struct {
	config string
	json   bool
}

// errBroken ends audit verify when a trail is not as it was written; what is wrong has been told.
var errBroken = errors.New("the audit trail is broken")

func runAuditVerify(e env, o auditOptions, files []string) error {
	switch {
	case len(files) > 0 && o.config != "":
		return usagef("--config names the trail, and so do the arguments; give one of them")
	case len(files) == 0:
		name := defaultAudit(e)
		if o.config != "" {
			cfg, err := loadConfig(o.config)
			if err != nil {
				return err
			}
			name = cfg.AuditFile()
		}
		var err error
		if files, err = audit.Files(name); err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("there is no audit trail %s", name)
		}
	}
	reports, err := audit.VerifyFiles(files...)
	broken := false
	for i := range reports {
		broken = broken || reports[i].Broken != nil
		if perr := printReport(e.stdout, &reports[i], o.json); perr != nil {
			return fmt.Errorf("write: %w", perr)
		}
	}
	if err == nil && broken {
		err = errBroken
	}
	return err
}

// printReport prints what was found in one file.
func printReport(w io.Writer, r *audit.Report, asJSON bool) error {
	if asJSON {
		line, reason := 0, ""
		if r.Broken != nil {
			line, reason = r.Broken.Line, r.Broken.Reason
		}
		return json.NewEncoder(w).Encode(struct {
			File    string `json:"file"`
			Intact  bool   `json:"intact"`
			Records int    `json:"records"`
			First   uint64 `json:"first,omitempty"`
			Last    uint64 `json:"last,omitempty"`
			Before  uint64 `json:"before,omitempty"`
			Line    int    `json:"broken_line,omitempty"`
			Reason  string `json:"reason,omitempty"`
			Breaks  int    `json:"breaks"`
			Missing uint64 `json:"missing"`
		}{r.File, r.Broken == nil, r.Records, r.First, r.Last, r.Before, line, reason, r.Breaks, r.Missing})
	}
	what := counted(r.Records, "record")
	if r.Last > 0 {
		what += fmt.Sprintf(" (%d to %d)", r.First, r.Last)
	}
	if r.Before > 0 {
		what += fmt.Sprintf(", %d before them are in files that were not given", r.Before)
	}
	if r.Broken == nil {
		_, err := fmt.Fprintf(w, "%s: %s: intact\n", r.File, what)
		return err
	}
	_, err := fmt.Fprintf(w, "%s:%d: %s: broken: %v; %s, %s missing\n", r.File, r.Broken.Line, what, r.Broken,
		counted(r.Breaks, "break"), counted(int(min(r.Missing, math.MaxInt32)), "record"))
	return err
}
