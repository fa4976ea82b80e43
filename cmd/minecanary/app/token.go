package app

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/accounts"
)

// maxTokenDays is the longest life of a token that ends at all.
const maxTokenDays = 3650

// tokenLife is how long a token holds unless told otherwise.
const tokenLife = "90d"

func newToken(e env) *cobra.Command {
	var dir, role, expires string
	var asJSON, never bool
	c := &cobra.Command{
		Use:   "token",
		Short: "look after the tokens of programs that use the API",
		Long: `Token adds, removes and lists the tokens by which programs use the API (Authorization: Bearer …). A service with the
same state directory knows of it within two seconds. Who changed what is kept in changes.ndjson beside the accounts.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVar(&dir, "state", config.Default().State.Dir, "state directory of the service")

	add := &cobra.Command{
		Use:   "add NAME --role viewer|analyst|admin",
		Short: "add a token and print it",
		Long: `Add prints the token on standard output, once: only its hash is kept. A token that is lost is removed and another
one added. It ends after a time unless --never says otherwise.`,
		Example: "  minecanary token add nightly-import --role analyst --expires 90d",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var end time.Time
			if never && c.Flags().Changed("expires") {
				return usagef("--never and --expires cannot both be")
			}
			if !never {
				var err error
				if end, err = expiry(expires, time.Now()); err != nil {
					return err
				}
			}
			var secret string
			err := changeAccounts(e, dir, "token.add", args[0], func(a *accounts.Accounts) (err error) {
				secret, err = a.AddToken(args[0], accounts.Role(role), end)
				return err
			})
			if secret != "" { // also if it could not be noted: it is valid
				if _, werr := fmt.Fprintln(e.stdout, secret); werr != nil && err == nil {
					err = fmt.Errorf("write: %w", werr)
				}
			}
			return err
		},
	}
	roleFlag(add, &role)
	add.Flags().StringVar(&expires, "expires", tokenLife, "how long it holds, in days (90d) or as 12h")
	add.Flags().BoolVar(&never, "never", false, "it never ends")
	remove := &cobra.Command{
		Use:   "remove NAME",
		Short: "remove a token",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return changeAccounts(e, dir, "token.remove", args[0], func(a *accounts.Accounts) error { return a.RemoveToken(args[0]) })
		},
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "list the tokens, those that have ended included",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := openAccounts(dir)
			if err != nil {
				return err
			}
			tokens, err := a.Tokens()
			if err != nil {
				return err
			}
			return printRows(e.stdout, asJSON, tokens, "NAME\tROLE\tCREATED\tEXPIRES", func(t accounts.Token) string {
				end := "never"
				if !t.Expires.IsZero() {
					end = minute(t.Expires)
				}
				return fmt.Sprintf("%s\t%s\t%s\t%s", t.Name, t.Role, minute(t.Created), end)
			})
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per token")
	c.AddCommand(add, remove, list)
	return c
}

// expiry gives the end of what holds for a time from now on.
func expiry(text string, now time.Time) (time.Time, error) {
	const day = 24 * time.Hour
	var life time.Duration
	var err error
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		life = time.Duration(n) * day
	} else {
		life, err = time.ParseDuration(text)
	}
	if err != nil || life <= 0 || life > maxTokenDays*day {
		return time.Time{}, usagef("--expires: %q is no time such as 90d or 12h, up to %dd; --never makes one that does not end", text, maxTokenDays)
	}
	return now.Add(life), nil
}
