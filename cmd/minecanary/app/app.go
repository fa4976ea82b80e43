// Package app wires the rooms into commands; every sub-command is one file.
//
// How commands speak: results go to standard output, everything else to standard error with a "minecanary:" prefix, no
// capital initials and no full stop at the end. With --json standard output is NDJSON only. Colour and progress bars
// appear only where the stream is a terminal.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Exit codes of every command.
const (
	ExitOK      = 0 // done; for probe: every endpoint got a verdict
	ExitFailed  = 1 // for lookup: what was asked for is not known
	ExitUsage   = 2
	ExitPartial = 3   // done, but some input was bad; for lookup also: failed
	ExitSignal  = 130 // ended by SIGINT or SIGTERM before it was done
)

// env is what a command works with instead of globals.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

// terminal tells whether a stream is a terminal.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour tells whether to colour what goes to w (see no-color.org).
func (e env) colour(w any) bool {
	return terminal(w) && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"
}

// usageError is a mistake in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errPartial says that all is done but some input was bad; what was bad has been told.
var errPartial = errors.New("some input was bad")

// codedError is a failure of a command that has its own exit code for it.
type codedError struct {
	error
	code int
}

func (e codedError) Unwrap() error { return e.error }

// hintError adds a line of advice to an error.
type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }

// Main runs one command and gives its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	defer context.AfterFunc(ctx, stop)()
	root := newRoot(env{stdin, stdout, stderr, getenv})
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	return exitCode(err, c.CommandPath(), stderr)
}

func newRoot(e env) *cobra.Command {
	root := &cobra.Command{
		Use:   "minecanary",
		Short: "find cryptocurrency miners in Zeek and Suricata records",
		Long: `Minecanary reads the connection records of Zeek and Suricata, scores who talks to whom as a miner does, asks the
suspected servers in mining protocols whether they are pools, and says so with reasons.

Exit codes: 0 done, 1 failed, 2 usage, 3 done but some input was bad, 130 interrupted. For lookup 1 is "not known", and
3 also "failed".`,
		Version:       thisBuild().Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newDetect(e), newServe(e), newProbe(e), newExplain(e), newFeed(e), newCatalogue(e), newLookup(e), newWallet(e), newConfig(e), newSetup(e), newSpar(e), newAudit(e), newUser(e), newToken(e), newHealth(e), newDemo(e), newVersion(e),
	)
	root.InitDefaultCompletionCmd("completion")
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	return root
}

// wrapArgs makes wrong arguments usage errors.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// exitCode prints an error of a command once and chooses the code.
func exitCode(err error, command string, stderr io.Writer) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errPartial):
		return ExitPartial
	case errors.Is(err, context.Canceled):
		say(stderr, "interrupted")
		return ExitSignal
	}
	say(stderr, "%v", err)
	if hint, ok := errors.AsType[hintError](err); ok {
		say(stderr, "hint: %s", hint.hint)
	}
	// Cobra has no type for an unknown command.
	if _, ok := errors.AsType[usageError](err); ok || strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag") {
		say(stderr, "hint: see %s --help", command)
		return ExitUsage
	}
	if coded, ok := errors.AsType[codedError](err); ok {
		return coded.code
	}
	return ExitFailed
}

// interruptible runs something that may hang in a read that knows no context, such as one of standard input, and does not
// wait for it when the context ends.
func interruptible(ctx context.Context, run func() error) error {
	done := make(chan error, 1)
	go func() { done <- run() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// say writes lines for people to standard error. A stream that cannot be written to has nobody to be told.
func say(w io.Writer, format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		_, _ = fmt.Fprintf(w, "minecanary: %s\n", strings.TrimRight(line, "\n"))
	}
}
