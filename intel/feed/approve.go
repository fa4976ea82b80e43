package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
)

const (
	// An approval is a file approve-<random>.json in the feed directory: several people may approve at once.
	approvePrefix, approveSuffix = "approve-", ".json"
	// maxApproveFile bounds such a file: MaxEntries endpoints at 64 bytes, and who and when.
	maxApproveFile = MaxEntries*64 + 1<<12
	// maxApproveFiles is how many are read at a time; the others wait for the next rewrite.
	maxApproveFiles = 100
	// firstYear is the first in which somebody may have approved; nobody had this program before.
	firstYear = 2020
	// approveVersion is that of the form of the file.
	approveVersion = 1
)

// Approval is an entry that somebody let into the feed.
type Approval struct {
	Endpoint minecanary.Endpoint
	// By is who, as the command knew them; printable ASCII. At is when.
	By string
	At time.Time
}

// approveForm is an approval file.
type approveForm struct {
	Version   int                   `json:"version"`
	By        string                `json:"by"`
	At        time.Time             `json:"at"`
	Endpoints []minecanary.Endpoint `json:"endpoints"`
}

// Approve leaves word in the feed directory that the endpoints may be published. The service that publishes there picks it
// up at its next rewrite. It is for another process; who has the Publisher uses its method. By is cut and made printable.
func Approve(dir string, endpoints []minecanary.Endpoint, by string, at time.Time) error {
	if len(endpoints) == 0 {
		return errors.New("approve: no endpoint")
	}
	if len(endpoints) > MaxEntries {
		return fmt.Errorf("approve: more than %d endpoints", MaxEntries)
	}
	data, err := json.Marshal(approveForm{approveVersion, approver(by), second(at), endpoints})
	if err != nil {
		return fmt.Errorf("approve: %w", err)
	}
	// The temporary file's random name makes that of the file.
	tmp, err := os.CreateTemp(dir, tempPrefix+approvePrefix+"*"+tempSuffix)
	if err != nil {
		return fmt.Errorf("approve: %w", err)
	}
	_, err = tmp.Write(append(data, '\n'))
	if err == nil {
		err = tmp.Chmod(fileMode) // the service may run as another user
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(tmp.Name()), tempPrefix), tempSuffix) + approveSuffix
		if err = os.Rename(tmp.Name(), filepath.Join(dir, name)); err == nil {
			err = folder{path: dir}.sync()
		}
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // the error before matters more
		return fmt.Errorf("approve: %w", err)
	}
	return nil
}

// approver makes a name that can be kept of what somebody calls himself.
func approver(by string) string {
	by = clean(by)
	return strings.Trim(by[:min(len(by), maxBy)], " ")
}

// takeApprovals reads the approval files of the directory and gives their names, to be removed once what they say is
// safe. What is wrong with a file is a problem; it is to be removed as well, or it would be told for ever.
func takeApprovals(dir string, now time.Time) (approvals []Approval, names []string, problems []error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, []error{fmt.Errorf("read feed directory: %w", err)}
	}
	for _, f := range files {
		name := f.Name()
		if !strings.HasPrefix(name, approvePrefix) || !strings.HasSuffix(name, approveSuffix) {
			continue
		}
		if len(names) == maxApproveFiles {
			break
		}
		names = append(names, name)
		some, err := readApproval(dir, name, now)
		if err != nil {
			problems = append(problems, fmt.Errorf("approval %.80q is refused: %w", name, err))
			continue
		}
		approvals = append(approvals, some...)
	}
	return approvals, names, problems
}

// readApproval reads one file; it is taken whole or not at all.
func readApproval(dir, name string, now time.Time) ([]Approval, error) {
	path := filepath.Join(dir, name)
	if err := trusted(dir, path); err != nil {
		return nil, err
	}
	data, err := readSmall(path, maxApproveFile)
	if err != nil {
		return nil, err
	}
	var form approveForm
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, err
	}
	switch {
	case form.Version != approveVersion:
		return nil, fmt.Errorf("version %d is unknown", form.Version)
	case form.By != approver(form.By):
		return nil, errors.New("a bad name of who approved")
	case form.At.Year() < firstYear || form.At.After(now.Add(MaxSkew)):
		return nil, errors.New("a bad time of the approval")
	case len(form.Endpoints) == 0 || len(form.Endpoints) > MaxEntries:
		return nil, fmt.Errorf("%d endpoints", len(form.Endpoints))
	}
	out := make([]Approval, len(form.Endpoints))
	for i, ep := range form.Endpoints {
		if !ep.Addr.IsValid() {
			return nil, errors.New("an endpoint is null")
		}
		out[i] = Approval{ep, form.By, form.At}
	}
	return out, nil
}

// trusted refuses a file that others than the directory's owner, root or we could have written.
func trusted(dir, path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return errors.New("others may write it")
	}
	owner, ok := ownerOf(info)
	if !ok {
		return nil
	}
	folder, err := os.Stat(dir)
	if err != nil {
		return err
	}
	house, _ := ownerOf(folder)
	if !slices.Contains([]int{0, os.Geteuid(), house}, owner) {
		return fmt.Errorf("it is of user %d", owner)
	}
	return nil
}

// removeAll removes files that were dealt with.
func removeAll(dir string, names []string) (problems []error) {
	for _, name := range names {
		// A folder of such a name is not ours to empty; it is told again.
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, fmt.Errorf("remove approval: %w", err))
		}
	}
	return problems
}
