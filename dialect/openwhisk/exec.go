package openwhisk

import (
	"archive/zip"
	"bytes"
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
	switch {
	case strings.HasPrefix(kind, "python:"):
		archive, err := archiveOf(filePython, []byte(code))
		return packed{archive: archive}, err
	case strings.HasPrefix(kind, "nodejs:"):
		archive, err := archiveOf(fileNode, []byte(code))
		return packed{archive: archive}, err
	case strings.HasPrefix(code, "#!"):
		archive, err := archiveOf(fileProgram, []byte(code))
		return packed{archive: archive}, err
	}
	return packed{}, refuse(http.StatusBadRequest, textNoCompiler, kind)
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
		if files, err = goFiles(z); err != nil || files == nil {
			return packed{}, false, err
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

// goFiles are those of an archive of Go source: at its top, or in "src"; nil
// where it is none.
func goFiles(z *zip.Reader) (map[string][]byte, error) {
	all, size := map[string][]byte{}, 0
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		if f.Name == fileProgram {
			return nil, nil
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
		all[f.Name] = content
	}
	isSource := func(name string) bool { return strings.HasSuffix(name, ".go") && !strings.Contains(name, "/") }
	if slices.ContainsFunc(slices.Collect(maps.Keys(all)), isSource) {
		return all, nil
	}
	below := map[string][]byte{}
	for name, content := range all {
		if rest, ok := strings.CutPrefix(name, "src/"); ok {
			below[rest] = content
		}
	}
	if slices.ContainsFunc(slices.Collect(maps.Keys(below)), isSource) {
		return below, nil
	}
	return nil, nil
}

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
