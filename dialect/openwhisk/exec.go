package openwhisk

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/openwhisk"
)

// An exec is the code of an action, as clients send and get it.
type exec struct {
	Kind       string   `json:"kind"`
	Code       *string  `json:"code,omitempty"`
	Main       string   `json:"main,omitempty"`
	Image      string   `json:"image,omitempty"`
	Components []string `json:"components,omitempty"`
	Binary     bool     `json:"binary"`
}

// maxCode bounds the code of an action: bytes as they are sent.
const maxCode = 48 << 20

// A pack of code is a zip archive, and how it came.
type packed struct {
	archive []byte
	binary  bool // it came in base64
	program bool // it came as an executable by itself, not as an archive
	source  bool // it came as what the program was compiled from
}

// names of the file that code by itself becomes.
const (
	filePython  = "__main__.py"
	fileNode    = "index.js"
	fileProgram = "exec"
	fileGo      = "main.go"
	fileSource  = "source" // beside what was compiled from it
)

// packCode makes an archive of an action's code.
func packCode(kind, code string) (packed, error) {
	if len(code) > maxCode {
		return packed{}, refuse(http.StatusRequestEntityTooLarge, "exec larger than allowed: %d > %d bytes.", len(code), maxCode)
	}
	if raw, ok := binary(code); ok {
		if bytes.HasPrefix(raw, []byte("PK\x03\x04")) || bytes.HasPrefix(raw, []byte("PK\x05\x06")) {
			return packed{archive: raw, binary: true}, nil
		}
		if isProgram(kind) {
			archive, err := archiveOf(fileProgram, raw)
			return packed{archive: archive, binary: true, program: true}, err
		}
		return packed{}, refuse(http.StatusBadRequest, "The request content was malformed:\nexec.code is neither text nor a zip archive in base64")
	}
	file := fileOf(kind)
	if file == "" && strings.HasPrefix(code, "#!") {
		file = fileProgram
	}
	if file == "" {
		return packed{}, refuse(http.StatusBadRequest, textNoCompiler, kind)
	}
	archive, err := archiveOf(file, []byte(code))
	return packed{archive: archive}, err
}

// checkEntry refuses a zip archive that has nothing at its top with which code of
// its kind begins, such as one that was written for another contract.
func checkEntry(kind, main string, archive []byte) error {
	family, _, _ := strings.Cut(kind, ":")
	wanted := entries[family]
	if wanted == nil || family == "nodejs" && strings.Contains(main, ".") { // which may name a file
		return nil
	}
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil // what is wrong with it, the registry says
	}
	var names []string
	for _, f := range z.File {
		name := strings.TrimPrefix(f.Name, "./")
		if slices.Contains(wanted, name) {
			return nil
		}
		names = append(names, name)
	}
	if len(names) > maxShown {
		names = append(names[:maxShown], "...")
	}
	return refuse(http.StatusBadRequest, "The request content was malformed:\nexec.code: the zip archive has no %s at its top, where code of the kind %s begins; it has: %s",
		strings.Join(wanted, " or "), kind, cmp.Or(strings.Join(names, ", "), "nothing"))
}

// entries are the files of which an archive has one at its top, by family.
var entries = map[string][]string{"python": {filePython, fileProgram}, "nodejs": {"package.json", fileNode, "index.mjs", "index.cjs"}}

// maxShown is how many files of an archive are named to its sender.
const maxShown = 10

// fileOf is the file that code by itself becomes; "" where that must be a program.
func fileOf(kind string) string {
	switch family, _, _ := strings.Cut(kind, ":"); family {
	case "python":
		return filePython
	case "nodejs":
		return fileNode
	default:
		return interpreted[family]
	}
}

const textNoCompiler = "The request content was malformed:\nexec.code: this server compiles no code of the kind %s: send a zip archive that holds the executable 'exec', or a script that begins with #!"

// compiled is an action's code where that is source to be compiled; false where
// it is not.
func (d *Door) compiled(ctx context.Context, kind, main, code string) (packed, bool, error) {
	language, _, _ := strings.Cut(kind, ":")
	if language != "go" || len(code) > maxCode {
		return packed{}, false, nil
	}
	raw, isBinary := binary(code)
	files := map[string][]byte{fileGo: []byte(code)}
	switch {
	case !isBinary && strings.HasPrefix(code, "#!"):
		return packed{}, false, nil
	case isBinary:
		z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
		if err != nil { // an executable by itself, or nothing
			return packed{}, false, nil
		}
		below, ok := goSource(z)
		if !ok {
			return packed{}, false, nil
		}
		release, err := d.unpacking.enter(ctx)
		if err != nil {
			return packed{}, true, err
		}
		defer release()
		if files, err = unpacked(z, below); err != nil {
			return packed{}, true, err
		}
	default:
		raw = []byte(code)
	}
	if d.Compiler == nil || d.Compiler.Version(language) == "" {
		return packed{}, true, refuse(http.StatusBadRequest, textNoCompiler, kind)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(name string) bool { return !strings.Contains(name, "/") && ownMain.Match(files[name]) }) {
		launcher, err := openwhisk.GoLauncher(main)
		if err != nil {
			return packed{}, true, err
		}
		files[openwhisk.LauncherFile] = []byte(launcher)
	}
	source, err := archiveOfAll(files)
	if err != nil {
		return packed{}, true, err
	}
	program, err := d.Compiler.Compile(ctx, language, source)
	if rouse.KindOf(err) == rouse.Invalid {
		return packed{}, true, refuse(http.StatusBadRequest, "The request content was malformed:\nexec.code can't be compiled:\n%s", refusalOf(err).text)
	}
	if err != nil {
		return packed{}, true, err
	}
	archive, err := archiveOfAll(map[string][]byte{fileProgram: program, fileSource: raw})
	return packed{archive: archive, binary: isBinary, source: true}, true, err
}

// ownMain is in a file of a program that speaks ActionLoop by itself.
var ownMain = regexp.MustCompile(`(?m)^func main\(\)`)

// goSource finds Go source in an archive: at its top, or in "src", which below
// then names. There is none beside an executable.
func goSource(z *zip.Reader) (below string, ok bool) {
	is := func(below string) bool {
		return slices.ContainsFunc(z.File, func(f *zip.File) bool {
			name, within := strings.CutPrefix(f.Name, below)
			return within && strings.HasSuffix(name, ".go") && !strings.Contains(name, "/")
		})
	}
	switch {
	case slices.ContainsFunc(z.File, func(f *zip.File) bool { return f.Name == fileProgram }):
		return "", false
	case is(""):
		return "", true
	}
	return "src/", is("src/")
}

// unpacked are the files of an archive whose names begin with below, without that.
func unpacked(z *zip.Reader, below string) (map[string][]byte, error) {
	all, size := map[string][]byte{}, 0
	for _, f := range z.File {
		name, within := strings.CutPrefix(f.Name, below)
		if f.FileInfo().IsDir() || !within {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "The request content was malformed:\nexec.code: %s: %v", f.Name, err)
		}
		content, err := io.ReadAll(io.LimitReader(r, maxSource-int64(size)+1))
		_ = r.Close()
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "The request content was malformed:\nexec.code: %s: %v", f.Name, err)
		}
		if size += len(content); size > maxSource {
			return nil, refuse(http.StatusRequestEntityTooLarge, "exec larger than allowed: more than %d bytes when it is unpacked.", maxSource)
		}
		all[name] = content
	}
	return all, nil
}

// A room holds so many at once; the others wait.
type room chan struct{}

// enter waits for a place, which release gives back. Errors: Unavailable where ctx
// ends before.
func (r room) enter(ctx context.Context) (release func(), err error) {
	select {
	case r <- struct{}{}:
		return func() { <-r }, nil
	case <-ctx.Done():
		return nil, rouse.Errorf(rouse.Unavailable, "unpack code", "", "others are unpacked before it: %w", ctx.Err())
	}
}

// maxUnpacked bounds how many archives of source are unpacked at once, each of
// up to maxSource.
const maxUnpacked = 2

// maxSource bounds source that is to be compiled, unpacked: bytes.
const maxSource = 256 << 20

// binary decodes code that is in base64. Text of a few letters is none, as
// OpenWhisk has it.
func binary(code string) ([]byte, bool) {
	code = strings.TrimSpace(code)
	if len(code) == 0 || len(code)%4 != 0 {
		return nil, false
	}
	raw, err := base64.StdEncoding.DecodeString(code)
	return raw, err == nil
}

// archiveOf makes the archive of one file.
func archiveOf(name string, content []byte) ([]byte, error) {
	return archiveOfAll(map[string][]byte{name: content})
}

// archiveOfAll makes an archive: the same bytes from the same files.
func archiveOfAll(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
		h.SetMode(0o755)
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write(files[name])
		}
		if err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// code returns an action's code as it was sent.
func (d *Door) code(ctx context.Context, a *action) (string, error) {
	if a.f.Code == "" {
		return "", nil
	}
	r, err := d.Blobs.Open(ctx, a.f.Code)
	if err != nil {
		return "", err
	}
	defer r.Close()
	archive, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	if a.Binary && !a.Program && !a.Source {
		return base64.StdEncoding.EncodeToString(archive), nil
	}
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	entry := 0
	if err == nil && a.Source {
		entry = slices.IndexFunc(z.File, func(f *zip.File) bool { return f.Name == fileSource })
	}
	if err != nil || entry < 0 || len(z.File) == 0 {
		return "", rouse.Errorf(rouse.Internal, "read code", a.f.Ref.String(), "the archive is not the one that was made of its code: %v", err)
	}
	f, err := z.File[entry].Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxCode))
	if a.Binary {
		return base64.StdEncoding.EncodeToString(content), err
	}
	return string(content), err
}
