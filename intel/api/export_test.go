package api

import (
	"strings"

	"github.com/minecanary/minecanary/intel/accounts"
)

// Operation is what one method does on one path.
type Operation struct {
	Method, Path string
	Role         accounts.Role
	Query        []string
}

// Operations gives all that there are.
func Operations() []Operation {
	var out []Operation
	for _, op := range operations() {
		out = append(out, Operation{op.method, strings.TrimPrefix(op.path, Prefix), op.role, op.query})
	}
	return out
}

// Lists gives the columns to sort by, by the path of the list.
func Lists() map[string][]string {
	return map[string][]string{
		"/pools": sorts(poolTable()), "/servers": sorts(serverTable()), "/endpoints": sorts(endpointTable()), "/addresses": sorts(addressTable()),
		"/coins": sorts(coinTable()), "/ports": sorts(portTable()), "/holds": sorts(holdTable()), "/users": sorts(userTable()), "/tokens": sorts(tokenTable()),
	}
}

func sorts[T any](t *table[T]) []string {
	var names []string
	for _, c := range t.columns {
		if c.key != nil {
			names = append(names, c.name)
		}
	}
	return names
}
