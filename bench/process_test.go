package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestALateReaderOfTheStoreIsNoLeak(t *testing.T) {
	store := t.TempDir()
	open := func(path string) {
		t.Helper()
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
	}
	count := func() int {
		t.Helper()
		n, err := descriptors(os.Getpid(), store)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	file := filepath.Join(store, "keys.db")
	open(file)
	before := count()
	for range storeReaders {
		open(file)
	}
	if now := count(); now != before {
		t.Errorf("%d descriptors became %d with all readers", before, now)
	}
	open(file)
	open(filepath.Join(t.TempDir(), "other"))
	if now := count(); now != before+2 {
		t.Errorf("%d descriptors became %d with a reader too many and another file", before, now)
	}
}
