package openwhisk

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
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
}

// names of the file that code by itself becomes.
const (
	filePython  = "__main__.py"
	fileNode    = "index.js"
	fileProgram = "exec"
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
			return packed{archive, true, true}, err
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
	return packed{}, refuse(http.StatusBadRequest,
		"The request content was malformed:\nexec.code: this platform compiles nothing: send a zip archive that holds the executable 'exec', or a script that begins with #!, for the kind %s", kind)
}

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

// archiveOf makes the archive of one file: the same bytes from the same bytes.
func archiveOf(name string, content []byte) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.SetMode(0o755)
	f, err := w.CreateHeader(h)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
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
	if a.Binary && !a.Program {
		return base64.StdEncoding.EncodeToString(archive), nil
	}
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil || len(z.File) != 1 {
		return "", rouse.Errorf(rouse.Internal, "read code", a.f.Ref.String(), "the archive is not the one that was made of its code: %v", err)
	}
	f, err := z.File[0].Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxCode))
	if a.Program && a.Binary {
		return base64.StdEncoding.EncodeToString(content), err
	}
	return string(content), err
}
