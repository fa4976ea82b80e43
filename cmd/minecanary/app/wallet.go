package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary/intel/wallets"
)

type walletOptions struct {
	json   bool
	labels []string
}

// walletAnswer is what is said of one login with --json.
type walletAnswer struct {
	// Asked is what was asked, at most wallets.MaxLogin bytes of it. IsWallet tells whether the rest is there.
	Asked    string `json:"login"`
	IsWallet bool   `json:"is_wallet"`
	*wallets.Login
	Labels []wallets.Label `json:"labels,omitempty"`
}

func newWallet(e env) *cobra.Command {
	var o walletOptions
	c := &cobra.Command{
		Use:   "wallet [flags] LOGIN…",
		Short: "tell which coin a miner's login is for and whether the wallet in it is right",
		Long: `Wallet takes the names that miners log in with, as in the column login of mining.log, and tells for each the coin whose
wallet stands in it, whether the wallet's checksum is right, and what stands beside it: worker, difficulty, payment ID.
Nobody is asked. "-" reads logins from standard input, one a line.

A wallet whose checksum is wrong is a typing error, or was made up. "unchecked" is an address that is written without a
checksum, such as one of Ethereum in lower case. Some coins share their addresses; all of them are named then, the usual
first. Names of accounts at pools are no wallets.

--labels takes files of comma-separated values, wallet,cluster,label,source, and tells what they say of the wallets.

Exit code 1 with a single login means that it holds no wallet, or one with a wrong checksum.`,
		Example: `  minecanary wallet 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.rig1
  zeek-cut login < mining.log | minecanary wallet --json --labels clusters.csv -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New(`give logins, or "-" for standard input`)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c.Context(), func() error { return runWallet(c.Context(), e, o, args) })
		},
	}
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print one JSON object per login")
	f.StringSliceVar(&o.labels, "labels", nil, "files of labels: wallet,cluster,label,source")
	return c
}

// maxLabelErrors is how many wrong lines of one file are told one by one.
const maxLabelErrors = 3

func runWallet(ctx context.Context, e env, o walletOptions, args []string) error {
	var tables []*wallets.Labels
	var partial error
	for _, path := range o.labels {
		t, errs := wallets.ReadLabelFile(path)
		for i, err := range errs {
			partial = errPartial
			if i == maxLabelErrors {
				say(e.stderr, "%s: %d more lines are wrong", path, len(errs)-i)
				break
			}
			say(e.stderr, "%v", err)
		}
		tables = append(tables, t)
	}
	out := bufio.NewWriter(e.stdout)
	asked, good := 0, 0
	ask := func(_, text string) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		asked++
		a := walletAnswer{Asked: text[:min(len(text), wallets.MaxLogin)]}
		if l, ok := wallets.Parse(text); ok {
			a.IsWallet, a.Login = true, &l
			for _, t := range tables {
				a.Labels = append(a.Labels, t.Find(l.Wallet)...)
			}
			if l.Valid || l.Unchecked {
				good++
			}
		}
		return writeWallet(out, o.json, a)
	}
	if err := eachOf(e.stdin, args, nil, ask); err != nil {
		return errors.Join(err, out.Flush())
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	switch {
	case partial != nil:
		return partial
	case asked == 1 && good == 0:
		return errors.New("no wallet with a right checksum")
	case asked > 1:
		say(e.stderr, "%s, %d with a wallet that can be one", counted(asked, "login"), good)
	}
	return nil
}

// writeWallet prints one answer.
func writeWallet(w io.Writer, asJSON bool, a walletAnswer) error {
	if asJSON {
		return json.NewEncoder(w).Encode(a)
	}
	l := a.Login
	if l == nil {
		// What was asked may come from a log, and a log from anybody.
		_, err := fmt.Fprintf(w, "%+q: no wallet\n", a.Asked)
		return err
	}
	state := "checksum wrong"
	switch {
	case l.Valid:
		state = "checksum right"
	case l.Unchecked:
		state = "unchecked"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s, %s", l.Wallet, strings.Join(l.Coins, " or "), l.Kind, state)
	for _, more := range []struct{ name, value string }{{"worker", l.Worker}, {"payment ID", l.PaymentID}, {"mode", l.Mode}} {
		if more.value != "" {
			fmt.Fprintf(&b, ", %s %q", more.name, more.value)
		}
	}
	if l.Difficulty > 0 {
		fmt.Fprintf(&b, ", difficulty %d", l.Difficulty)
	}
	for _, label := range a.Labels {
		fmt.Fprintf(&b, "\n  label %q, cluster %q, source %q", label.Label, label.Cluster, label.Source)
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}
