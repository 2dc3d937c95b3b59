package bundle

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
)

// epoch is the time of every packed file, the first that a zip can tell.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// Pack writes to w a zip of what is at name: a folder, a file, or a zip, which
// is copied as it is. The same content gives the same bytes: files are sorted,
// their times fixed and their modes 0644 or 0755.
//
// Of a folder are left out what its .rouseignore lists, .git, __pycache__,
// node_modules, .venv and .DS_Store. A symbolic link is packed as what it leads
// to. Errors: Invalid where nothing is left to pack, a link leads out of the
// folder, or something is neither file nor folder; NotFound.
func Pack(w io.Writer, name string) error {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return rouse.Errorf(rouse.NotFound, "pack", name, "there is no such file or folder")
	}
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	if info.Mode().IsRegular() && strings.EqualFold(filepath.Ext(name), ".zip") {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("pack: %w", err)
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	}
	p := packer{on: name}
	defer p.close()
	if info.IsDir() {
		err = p.folder(name)
	} else {
		err = p.file(name)
	}
	if err != nil {
		return err
	}
	return p.write(w)
}

// A packer gathers what is to be packed before it writes, so that what can't be
// packed leaves no half archive.
type packer struct {
	on     string
	root   *os.Root
	skip   ignore
	files  []string
	within []fs.FileInfo // the folders that are being walked, outermost first
}

func (p *packer) close() {
	if p.root != nil {
		p.root.Close()
	}
}

func (p *packer) refuse(format string, args ...any) error {
	return rouse.Errorf(rouse.Invalid, "pack", p.on, format, args...)
}

func (p *packer) file(name string) (err error) {
	// Only the name within its folder may be opened; links are the caller's own.
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	if p.root, err = os.OpenRoot(filepath.Dir(real)); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return p.add(filepath.Base(real))
}

func (p *packer) folder(name string) (err error) {
	if p.root, err = os.OpenRoot(name); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	text, err := p.root.ReadFile(ignoreFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pack: read %s: %w", ignoreFile, err)
	}
	p.skip = parseIgnore(string(text))
	if err := p.walk("."); err != nil {
		return err
	}
	if len(p.files) == 0 {
		return p.refuse("the folder holds no file to pack; what %s lists, .git, __pycache__, node_modules and .venv are left out", ignoreFile)
	}
	return nil
}

func (p *packer) walk(dir string) error {
	info, err := p.root.Stat(dir)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	if slices.ContainsFunc(p.within, func(outer fs.FileInfo) bool { return os.SameFile(outer, info) }) {
		return p.refuse("the link %s leads to a folder that it is in", dir)
	}
	p.within = append(p.within, info)
	defer func() { p.within = p.within[:len(p.within)-1] }()
	entries, err := fs.ReadDir(p.root.FS(), dir)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		// A link that is to be left out may lead anywhere.
		if p.skip.skips(name, e.IsDir()) {
			continue
		}
		if err := p.add(name); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) add(name string) error {
	if _, err := cleanName(name); err != nil {
		return p.refuse("%w", err)
	}
	info, err := p.root.Stat(name)
	if err != nil {
		if link, lerr := p.root.Lstat(name); lerr == nil && link.Mode()&fs.ModeSymlink != 0 {
			return p.refuse("the link %s leads nowhere or out of the folder; a link must be relative and stay inside", name)
		}
		return fmt.Errorf("pack: %w", err)
	}
	switch {
	case info.IsDir():
		if p.skip.skips(name, true) {
			return nil
		}
		return p.walk(name)
	case info.Mode().IsRegular():
		p.files = append(p.files, name)
		return nil
	}
	return p.refuse("%s is neither a file nor a folder", name)
}

func (p *packer) write(w io.Writer) error {
	slices.Sort(p.files)
	z := zip.NewWriter(w)
	for _, name := range p.files {
		if err := p.copy(z, name); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
	}
	return z.Close()
}

func (p *packer) copy(z *zip.Writer, name string) error {
	f, err := p.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: epoch}
	h.SetMode(mode(info.Mode()))
	w, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

// mode is what is kept of a file's mode: whether it can be run.
func mode(m fs.FileMode) fs.FileMode {
	if m&0o111 != 0 {
		return 0o755
	}
	return 0o644
}
