package accounts

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost is what hashing a password costs (argon2id, RFC 9106).
type Cost struct {
	// Time is the number of passes, 1 to 16.
	Time uint32
	// Memory is in KiB, 8 for each thread to 262,144 (256 MiB).
	Memory uint32
	// Threads is how many work on one hash, 1 to 16.
	Threads uint8
}

// DefaultCost is the second choice of RFC 9106, section 4, for where memory is scarce: 64 MiB.
var DefaultCost = Cost{Time: 3, Memory: 64 << 10, Threads: 4}

const (
	maxTime    = 16
	maxMemory  = 256 << 10 // KiB
	maxThreads = 16

	saltBytes = 16 // RFC 9106, section 4
	hashBytes = 32

	// maxHashing is how many passwords are hashed at once, each with Cost.Memory.
	maxHashing = 2
)

// check tells what is wrong with a cost; argon2 would panic, or take all memory there is.
func (c Cost) check() error {
	if c.Time < 1 || c.Time > maxTime || c.Threads < 1 || c.Threads > maxThreads || c.Memory < 8*uint32(c.Threads) || c.Memory > maxMemory {
		return fmt.Errorf("%w: argon2id cannot or must not cost m=%d,t=%d,p=%d", ErrInvalid, c.Memory, c.Time, c.Threads)
	}
	return nil
}

func argon2id(password, salt []byte, c Cost) []byte {
	return argon2.IDKey(password, salt, c.Time, c.Memory, c.Threads, hashBytes)
}

// passwordHash is a password as it is kept.
type passwordHash struct {
	cost       Cost
	salt, hash []byte
}

// String gives the form that argon2's reference and most libraries write.
func (h passwordHash) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.Memory, h.cost.Time, h.cost.Threads,
		enc.EncodeToString(h.salt), enc.EncodeToString(h.hash))
}

// errPassword does not say what is wrong: the text would have to hold parts of the hash.
var errPassword = errors.New("password is no argon2id hash that can be used")

// parsePassword reads what String wrote, and nothing else.
func parsePassword(s string) (passwordHash, error) {
	const parts, maxText = 6, 256
	fields := strings.Split(s, "$")
	if len(s) > maxText || len(fields) != parts {
		return passwordHash{}, errPassword
	}
	var h passwordHash
	if _, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &h.cost.Memory, &h.cost.Time, &h.cost.Threads); err != nil {
		return passwordHash{}, errPassword
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(fields[4])
	h.hash, err2 = base64.RawStdEncoding.DecodeString(fields[5])
	if errors.Join(err1, err2, h.cost.check()) != nil || len(h.salt) != saltBytes || len(h.hash) != hashBytes || h.String() != s {
		return passwordHash{}, errPassword
	}
	return h, nil
}

// matches hashes the password and compares, in a time that does not depend on where they differ.
func (h passwordHash) matches(password string, derive func(password, salt []byte, c Cost) []byte) bool {
	return subtle.ConstantTimeCompare(derive([]byte(password), h.salt, h.cost), h.hash) == 1
}
