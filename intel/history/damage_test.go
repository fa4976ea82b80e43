package history

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/minecanary/minecanary"
)

func netipAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixOf(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// childFile names the history that this test program writes until it is killed.
const childFile = "MINECANARY_HISTORY_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		fmt.Fprintln(os.Stderr, writeForever(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// endpoint is the i-th of many.
func endpoint(i int) minecanary.Endpoint {
	return minecanary.NewEndpoint(netip.AddrFrom4([4]byte{192, byte(i >> 16), byte(i >> 8), byte(i)}), 3333, minecanary.TCP)
}

// childBatch is how many observations the child writes at once.
const childBatch = 50

// writeForever writes batches, and says the number of each when it is acknowledged.
func writeForever(path string) error {
	db, err := Open(path, Options{LockTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	var n int
	if err := db.View(func(v *View) error {
		b, err := v.Get("child", "batches")
		if b != nil {
			n, err = strconv.Atoi(string(b))
		}
		return err
	}); err != nil {
		return err
	}
	for ; ; n++ {
		err := db.Update(context.Background(), func(tx *Tx) error {
			now := time.Now()
			for i := range childBatch {
				p := Probe{Endpoint: endpoint(n*childBatch + i), At: now, Status: minecanary.Confirmed, Reason: strings.Repeat("r", n%300)}
				if err := tx.Probed(p); err != nil {
					return err
				}
				// Rows that change all the time, and rows that grow.
				if err := tx.Resolved(Observation{Name: "a.example", At: now, Addrs: []netip.Addr{endpoint(n).Addr}}); err != nil {
					return err
				}
			}
			return tx.Put("child", "batches", []byte(strconv.Itoa(n+1)))
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	acknowledged := -1
	rnd := rand.New(rand.NewPCG(1, 2))
	for kill := range 20 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childFile+"="+path)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The kill comes at any moment of a batch: some time after a batch that was acknowledged.
		lines := bufio.NewScanner(stdout)
		fresh := 0
		for lines.Scan() {
			if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
			if fresh++; fresh == 1+kill%4 {
				time.AfterFunc(time.Duration(rnd.IntN(20_000))*time.Microsecond, func() { _ = cmd.Process.Kill() }) // it may be gone
			}
		}
		if err := cmd.Wait(); err == nil || fresh == 0 {
			t.Fatalf("the child ended by itself: %v %s", err, stderr.String())
		}
		db, err := Open(path, Options{})
		if err != nil {
			t.Fatalf("after kill %d: %v", kill, err)
		}
		states := ask(t, db, func(v *View) ([]State, error) {
			return v.Endpoints(network("192.0.0.0/8"), Query{Limit: 1_000_000})
		})
		batches := ask(t, db, func(v *View) ([]byte, error) { return v.Get("child", "batches") })
		stored, err := strconv.Atoi(string(batches))
		// One batch more may be there: it was written, and its acknowledgement was not.
		if err != nil || len(states) != stored*childBatch || stored < acknowledged+1 || stored > acknowledged+2 {
			t.Fatalf("after kill %d: %d endpoints, %q batches, acknowledged %d", kill, len(states), batches, acknowledged)
		}
		for i, s := range states {
			if s.Endpoint != endpoint(i) {
				t.Fatalf("after kill %d: endpoint %d is %s", kill, i, s.Endpoint)
			}
		}
		acknowledged = stored - 1
		if err := errors.Join(db.Check(), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d batches", acknowledged+1)
}

// fill writes a little of everything, in many transactions.
func fill(tb testing.TB, db *DB, c *clock, names int) {
	tb.Helper()
	for round := range 6 {
		c.now = hours(float64(30 * round))
		err := db.Update(tb.Context(), func(tx *Tx) error {
			for i := range names {
				err := errors.Join(
					tx.Resolved(Observation{Name: fmt.Sprintf("pool%d.example", i), At: c.now, Addrs: []netip.Addr{endpoint(i + round).Addr}}),
					tx.Probed(Probe{Endpoint: endpoint(i), At: c.now, Status: []minecanary.VerdictStatus{minecanary.Confirmed, minecanary.Node}[round%2], Reason: "because"}),
					tx.Put("docs", strconv.Itoa(i), []byte(`{"some":"document"}`)),
				)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// everything is all there is in a file.
func everything(db *DB) (string, error) {
	var b strings.Builder
	err := db.View(func(v *View) error {
		for _, name := range buckets {
			fmt.Fprintf(&b, "%c\n", name)
			if err := v.bucket(name).ForEach(func(k, v []byte) error {
				_, err := fmt.Fprintf(&b, "%x %x\n", k, v)
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return b.String(), err
}

// filled makes the bytes of a whole file, and what is in it.
func filled(tb testing.TB, names int) (file []byte, content string) {
	tb.Helper()
	db, c := open(tb, Options{})
	fill(tb, db, c, names)
	content, err := everything(db)
	if err != nil {
		tb.Fatal(err)
	}
	// A backup ends with the last page in use.
	var b bytes.Buffer
	if err := errors.Join(db.Backup(&b), db.Close()); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes(), content
}

// A file with one changed bit, or cut off, is refused; or the bit meant nothing, and all that was written is read.
func TestDamage(t *testing.T) {
	file, content := filled(t, 40)
	page := os.Getpagesize()
	rnd := rand.New(rand.NewPCG(3, 4))
	path := filepath.Join(t.TempDir(), "history.db")
	refused, harmless := 0, 0
	try := func(what string, b []byte) {
		t.Helper()
		err := verify(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "put a backup") {
				t.Fatalf("%s: %v", what, err)
			}
			if refused++; refused%500 != 0 {
				return // it would be refused before bbolt sees it
			}
		} else if harmless++; harmless%20 != 1 {
			return // some are looked at closely
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		db, openErr := Open(path, Options{noSync: true})
		if (openErr == nil) != (err == nil) {
			t.Fatalf("%s: verify says %v, open %v", what, err, openErr)
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(after, b) {
			t.Fatalf("%s: opening has changed the file", what)
		}
		if openErr != nil {
			return
		}
		got, err := everything(db)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got != content {
			t.Fatalf("%s: not refused, and what is read has changed (-want +got)\n%s", what, cmp.Diff(content, got))
		}
	}
	try("nothing", bytes.Clone(file))
	if harmless != 1 {
		t.Fatal("the whole file is refused")
	}
	flip := func(at int, bit uint) {
		file[at] ^= 1 << bit
		try(fmt.Sprintf("bit %d of byte %d of page %d", bit, at%page, at/page), file)
		file[at] ^= 1 << bit
	}
	for p := 0; p < len(file)/page; p++ {
		// Bits of each header and of the first elements, all of them in the meta pages, and bits anywhere.
		for at := range pageHeader + metaLen {
			for bit := range uint(8) {
				if p < 2 || (at+int(bit)+p)%5 == 0 {
					flip(p*page+at, bit)
				}
			}
		}
		for range 25 {
			flip(p*page+rnd.IntN(page), rnd.UintN(8))
		}
	}
	for range 50 {
		try("cut off", file[:rnd.IntN(len(file))])
	}
	try("nothing left", nil)
	try("half a page", file[:page/2])
	try("text", bytes.Repeat([]byte("no database\n"), 5000))
	for range 50 { // a block that was never written
		at := rnd.IntN(len(file)/512) * 512
		old := bytes.Clone(file[at : at+512])
		clear(file[at : at+512])
		try(fmt.Sprintf("hole at %d", at), file)
		copy(file[at:], old)
	}
	t.Logf("%d bytes: %d refused, %d harmless", len(file), refused, harmless)
	if refused < 2000 {
		t.Error("the test is too small")
	}
}

// A file that shrinks while it is open is an error and no crash.
func TestDamageWhileOpen(t *testing.T) {
	file, _ := filled(t, 2000)
	path := filepath.Join(t.TempDir(), "history.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(4*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	if _, err := everything(db); !errors.Is(err, ErrDamaged) {
		t.Errorf("read: %v", err)
	}
	if err := db.Check(); !errors.Is(err, ErrDamaged) {
		t.Errorf("check: %v", err)
	}
	if err := db.Resolved(t.Context(), Observation{Name: "a.example", At: day0}); !errors.Is(err, ErrDamaged) {
		t.Errorf("write: %v", err)
	}
	_ = db.Close() // whatever it says
	if _, err := Open(path, Options{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("open: %v", err)
	}
}

// A file of another program, or of a later version of ours, is refused.
func TestForeign(t *testing.T) {
	for name, change := range map[string]func(*bolt.Tx) error{
		"other bucket":   func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("x")); return err },
		"bucket missing": func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte{bucketDocs}) },
		"no checksum":    func(tx *bolt.Tx) error { return tx.Bucket([]byte{bucketDocs}).Put([]byte("k"), []byte("v")) },
		"bucket inside": func(tx *bolt.Tx) error {
			_, err := tx.Bucket([]byte{bucketDocs}).CreateBucket([]byte("k"))
			return err
		},
		"newer": func(tx *bolt.Tx) error {
			return put(tx.Bucket([]byte{bucketAbout}), bucketAbout, []byte(keyFormat), []byte{formatVersion + 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			db, _ := open(t, Options{})
			if err := errors.Join(db.bolt.Update(change), db.Close()); err != nil {
				t.Fatal(err)
			}
			db, err := Open(db.path, Options{})
			if err == nil {
				t.Fatal(errors.Join(errors.New("opened"), db.Close()))
			}
			if errors.Is(err, ErrDamaged) != (name != "newer") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBackup(t *testing.T) {
	db, c := open(t, Options{noSync: true})
	fill(t, db, c, 300)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // documents 0 and 1 are always written together
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			err := db.Update(t.Context(), func(tx *Tx) error {
				value := []byte(strconv.Itoa(i))
				return errors.Join(tx.Put("pair", "0", value), fillOne(tx, c.now, i), tx.Put("pair", "1", value))
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 10 {
		path := filepath.Join(t.TempDir(), strconv.Itoa(i))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Backup(f), f.Close(), Verify(path)); err != nil {
			t.Fatal(err)
		}
		b, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		pair := ask(t, b, func(v *View) ([]Doc, error) { return v.List("pair", "", "", 0) })
		if len(pair) == 2 && !bytes.Equal(pair[0].JSON, pair[1].JSON) || len(pair) == 1 {
			t.Errorf("got %q", pair)
		}
		states := ask(t, b, func(v *View) ([]State, error) { return v.Endpoints(network("192.0.0.0/16"), Query{}) })
		if len(states) != 6*300 {
			t.Errorf("%d intervals", len(states))
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if err := db.Backup(failing{}); err == nil || !strings.Contains(err.Error(), io.ErrShortWrite.Error()) {
		t.Errorf("a failing writer: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func fillOne(tx *Tx, now time.Time, i int) error {
	return tx.Probed(Probe{Endpoint: endpoint(1<<16 + i%1000), At: now, Status: minecanary.Node, Reason: strconv.Itoa(i)})
}

func TestPrune(t *testing.T) {
	db, c := open(t, Options{noSync: true})
	fill(t, db, c, 3000)
	before, err := db.Stats()
	if err != nil {
		t.Fatal(err)
	}
	// The rounds were at hours 0, 30, …, 150; those until 90 have ended at 114.
	got, err := db.Prune(t.Context(), hours(114))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Pruned{Rows: 4 * 3 * 3000, Compacted: true}); got.Rows < 4*2*3000 || got.Compacted != want.Compacted {
		t.Errorf("got %+v", got)
	}
	after, err := db.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if after.Size*2 > before.Size || after.Docs != 3000 || before.Rows-after.Rows != got.Rows {
		t.Errorf("before %+v, after %+v", before, after)
	}
	names := ask(t, db, func(v *View) ([]Addresses, error) { return v.Addresses("pool7.example", Query{}) })
	if len(names) != 2 || names[0].From != hours(120) {
		t.Errorf("got %+v", names)
	}
	// The address it had before is forgotten, also from the other side.
	if got := ask(t, db, func(v *View) (int, error) {
		n := 0
		err := v.bucket(bucketAddrs).ForEach(func(_, _ []byte) error { n++; return nil })
		return n, err
	}); got != 2*3000 {
		t.Errorf("%d entries in the index", got)
	}
	// It goes on in the new file, which is the one with the name.
	if err := db.Resolved(t.Context(), Observation{Name: "after.example", At: c.now, Addrs: addrs("198.51.100.1")}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(db.path, Options{LockTimeout: time.Millisecond}); !errors.Is(err, ErrInUse) {
		t.Errorf("the new file is not locked: %v", err)
	}
	if got, err = db.Prune(t.Context(), hours(114)); err != nil || got != (Pruned{}) {
		t.Errorf("a second time: %+v %v", got, err)
	}
	want, err := everything(db)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := Open(db.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	content, err := everything(again)
	if err := errors.Join(err, again.Close()); err != nil || content != want {
		t.Errorf("%v; %s", err, cmp.Diff(want, content))
	}
	// To the last row.
	if again, err = Open(db.path, Options{}); err != nil {
		t.Fatal(err)
	}
	_, err = again.Prune(t.Context(), hours(1000))
	s, err2 := again.Stats()
	if err := errors.Join(err, err2, again.Close()); err != nil || s.Rows != 0 || s.Tracks != 0 || s.Docs != 3000 {
		t.Errorf("%v; %+v", err, s)
	}
}

// FuzzVerify patches a small file in two places; small inputs are tried by the thousand.
func FuzzVerify(f *testing.F) {
	file, _ := filled(f, 5)
	f.Add(0, []byte{}, 0, []byte{})
	f.Add(os.Getpagesize()+20, []byte{1, 2, 3}, 5*os.Getpagesize()+8, []byte{flagBranch, 0, 1})
	f.Add(0, []byte("no database"), 2*os.Getpagesize()+12, []byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, at int, patch []byte, at2 int, patch2 []byte) {
		b := bytes.Clone(file)
		if at >= 0 && at < len(b) {
			copy(b[at:], patch)
		}
		if at2 >= 0 && at2 < len(b) {
			copy(b[at2:], patch2)
		}
		if err := verify(bytes.NewReader(b), int64(len(b))); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
}

func FuzzValue(f *testing.F) {
	f.Add(row{from: 1e12, lastSeen: 2e12, learnt: 1, value: answer{addrs: addrs("192.0.2.1", "2001:db8::1"), chain: []string{"a"}}.encode()}.encode())
	f.Add(row{from: 1, lastSeen: 1, learnt: 2, value: verdict{"confirmed", "stratum-v1", "monero", true}.encode(), extra: why{"n", "a", "b"}.encode()}.encode())
	f.Add([]byte{rowVersion, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(append(nameKey("eu.pool.example", trackAnswers), 1, 2, 3))
	f.Add(endpointKey(endpoint(1), trackReach|trackDisputed))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRow(b)
		if err == nil {
			if r.from < 0 || r.lastSeen < r.from || r.lastSeen > maxTime {
				t.Errorf("times %+v", r)
			}
			again, err := decodeRow(r.encode())
			if diff := cmp.Diff(r, again, cmp.AllowUnexported(row{})); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
			b = r.value
		}
		if a, err := decodeAnswer(b); err == nil {
			again, err := decodeAnswer(a.encode())
			if diff := cmp.Diff(a, again, cmp.AllowUnexported(answer{}), compareAddrs); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		}
		if v, err := decodeVerdict(b); err == nil {
			if again, err := decodeVerdict(v.encode()); err != nil || v != again {
				t.Errorf("%v became %v: %v", v, again, err)
			}
		}
		if w, err := decodeWhy(b); err == nil {
			if again, err := decodeWhy(w.encode()); err != nil || w != again {
				t.Errorf("%v became %v: %v", w, again, err)
			}
		}
		if track, _, err := splitTrack(b); err == nil && len(track) > len(b) {
			t.Errorf("%x from %x", track, b)
		}
	})
}
