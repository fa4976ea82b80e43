package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/changes"
)

// maxPasswordLine bounds the line that holds a password: more than accounts.MaxPassword, so that a longer one is told.
const maxPasswordLine = 4096

func newUser(e env) *cobra.Command {
	var dir, role string
	var asJSON bool
	c := &cobra.Command{
		Use:   "user",
		Short: "look after who may log in to the web pages",
		Long: `User adds, changes, removes and lists the users of the web pages. A service with the same state directory knows of
it within two seconds. Who changed what is kept in changes.ndjson beside the accounts.

Roles: a viewer may read, an analyst also change the catalogue, an admin also accounts.

A password has 10 to 256 bytes. It is asked for twice; if standard input is no terminal, it is its first line.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVar(&dir, "state", config.Default().State.Dir, "state directory of the service")

	add := &cobra.Command{
		Use:     "add NAME --role viewer|analyst|admin",
		Short:   "add a user",
		Example: "  minecanary user add alice --role analyst",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return changeAccounts(e, dir, "user.add", args[0], func(a *accounts.Accounts) error {
				password, err := askPassword(c.Context(), e)
				if err != nil {
					return err
				}
				return a.AddUser(args[0], accounts.Role(role), password)
			})
		},
	}
	roleFlag(add, &role)
	passwd := &cobra.Command{
		Use:   "passwd NAME",
		Short: "give a user another password and end the user's sessions",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return changeAccounts(e, dir, "user.passwd", args[0], func(a *accounts.Accounts) error {
				password, err := askPassword(c.Context(), e)
				if err != nil {
					return err
				}
				return a.SetPassword(args[0], password)
			})
		},
	}
	setRole := &cobra.Command{
		Use:   "role NAME viewer|analyst|admin",
		Short: "give a user another role",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return changeAccounts(e, dir, "user.role", args[0], func(a *accounts.Accounts) error {
				return a.SetRole(args[0], accounts.Role(args[1]))
			})
		},
	}
	remove := &cobra.Command{
		Use:   "remove NAME",
		Short: "remove a user and end the user's sessions",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return changeAccounts(e, dir, "user.remove", args[0], func(a *accounts.Accounts) error { return a.RemoveUser(args[0]) })
		},
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "list the users",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := openAccounts(dir)
			if err != nil {
				return err
			}
			users, err := a.Users()
			if err != nil {
				return err
			}
			return printRows(e.stdout, asJSON, users, "NAME\tROLE\tCREATED\tCHANGED", func(u accounts.User) string {
				return fmt.Sprintf("%s\t%s\t%s\t%s", u.Name, u.Role, minute(u.Created), minute(u.Changed))
			})
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per user")
	c.AddCommand(add, passwd, setRole, remove, list)
	return c
}

// roleFlag adds the flag that every new account needs.
func roleFlag(c *cobra.Command, role *string) {
	c.Flags().StringVar(role, "role", "", "viewer, analyst or admin")
	// They fail if there is no such flag.
	_ = c.MarkFlagRequired("role")
	complete(c, "role", "viewer", "analyst", "admin")
}

// openAccounts gives the accounts of a state directory that is there.
func openAccounts(dir string) (*accounts.Accounts, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, hintError{
			fmt.Errorf("there is no state directory %s", dir),
			"--state takes the folder that state.dir names in the configuration of serve; make it if serve never ran",
		}
	}
	return accounts.Open(filepath.Join(dir, accounts.FileName), accounts.Options{}), nil
}

// changeAccounts changes a user or token and notes it in the journal. The journal is tried first: what cannot be noted is
// not done.
func changeAccounts(e env, dir, action, name string, change func(*accounts.Accounts) error) error {
	a, err := openAccounts(dir)
	if err != nil {
		return err
	}
	journal := changes.Open(filepath.Join(dir, changes.FileName))
	if err := journal.Check(); err != nil {
		return err
	}
	before, err := account(a, action, name)
	if err != nil {
		return err
	}
	// Told before a password is asked for; the accounts decide it once more.
	if add := strings.HasSuffix(action, ".add"); add && before != nil {
		return fmt.Errorf("%q %w", name, accounts.ErrExists)
	} else if !add && before == nil {
		return fmt.Errorf("%q %w", name, accounts.ErrNotFound)
	}
	if err := change(a); err != nil {
		if errors.Is(err, accounts.ErrInvalid) {
			return usageError{err}
		}
		return err
	}
	after, err := account(a, action, name)
	if err == nil {
		err = journal.Append(changes.Entry{Who: shell(), Action: action, Object: name, Before: before, After: after})
	}
	if err != nil {
		return fmt.Errorf("it is done, but not noted: %w", err)
	}
	say(e.stderr, "%s %s: done", action, name)
	return nil
}

// account gives a user or token, as the action says, without what lets anybody in; nil if there is none.
func account(a *accounts.Accounts, action, name string) (json.RawMessage, error) {
	if strings.HasPrefix(action, "token.") {
		tokens, err := a.Tokens()
		for _, t := range tokens {
			if t.Name == name {
				return json.Marshal(t)
			}
		}
		return nil, err
	}
	users, err := a.Users()
	for _, u := range users {
		if u.Name == name {
			return json.Marshal(u)
		}
	}
	return nil, err
}

// shell names who runs the command, for the journal.
func shell() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return "shell " + u.Username
	}
	return "shell uid " + strconv.Itoa(os.Getuid())
}

// askPassword reads a password: twice from a terminal, without echo, or else the first line.
func askPassword(ctx context.Context, e env) (string, error) {
	var read func() (string, error)
	restore := func() error { return nil }
	if in, ok := e.stdin.(*os.File); ok && terminal(in) {
		before, err := term.GetState(int(in.Fd()))
		if err != nil {
			return "", fmt.Errorf("terminal: %w", err)
		}
		// A reading that is given up would leave the terminal without echo.
		restore = func() error { return term.Restore(int(in.Fd()), before) }
		read = func() (string, error) { return typedPassword(e.stderr, in) }
	} else {
		read = func() (string, error) { return firstLine(e.stdin) }
	}
	given := make(chan string, 1) // a reading that is given up may still end
	err := interruptible(ctx, func() error {
		password, err := read()
		given <- password
		return err
	})
	if err := errors.Join(err, restore()); err != nil {
		return "", err
	}
	return <-given, nil
}

// firstLine reads a line without its end.
func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPasswordLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", usagef("standard input holds no password")
	}
	return line, nil
}

// typedPassword asks for a password twice.
func typedPassword(stderr io.Writer, in *os.File) (string, error) {
	first, err := promptPassword(stderr, in, "password: ")
	if err != nil {
		return "", err
	}
	second, err := promptPassword(stderr, in, "again: ")
	if err != nil {
		return "", err
	}
	if string(first) != string(second) {
		return "", errors.New("the passwords differ")
	}
	return string(first), nil
}

// promptPassword asks once.
func promptPassword(stderr io.Writer, in *os.File, prompt string) ([]byte, error) {
	_, _ = fmt.Fprint(stderr, prompt) // who cannot be asked can type nevertheless
	b, err := term.ReadPassword(int(in.Fd()))
	_, _ = fmt.Fprintln(stderr) // nor was the end of the line echoed
	if err != nil {
		return nil, fmt.Errorf("read password: %w", err)
	}
	return b, nil
}

// printRows prints a table for people, or one JSON object per row.
func printRows[R any](w io.Writer, asJSON bool, rows []R, head string, row func(R) string) error {
	if asJSON {
		enc := json.NewEncoder(w)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintln(t, head)
	for _, r := range rows {
		if err == nil {
			_, err = fmt.Fprintln(t, row(r))
		}
	}
	if err = errors.Join(err, t.Flush()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// minute writes a time for people.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }
