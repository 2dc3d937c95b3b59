package openwhisk_test

import (
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/openwhisk"
	"github.com/rouse-run/rouse/sandbox/process"
)

// interpreted is an action of a kind whose code a loop runs; the test is skipped
// where the host lacks the interpreter.
func interpreted(t *testing.T, kind, file, code string) action {
	t.Helper()
	family, _, _ := strings.Cut(kind, ":")
	if _, err := exec.LookPath(family); err != nil {
		t.Skip("no " + family + " here")
	}
	return action{function: rouse.Function{Runtime: "python3", Handler: "main"}, files: files{file: code}, note: &openwhisk.Note{Kind: kind}}
}

const codePHP = `<?php
class Bag { function getArrayCopy() { return ['bag' => true]; } }
function main(array $args): mixed
{
    switch ($args['do'] ?? '') {
        case 'say': echo "said\n"; fwrite(STDERR, "aside\n"); return ['a' => [1, 'ü', null]];
        case 'env': return ['id' => getenv('__OW_ACTIVATION_ID'), 'name' => $_ENV['__OW_ACTION_NAME'] ?? getenv('__OW_ACTION_NAME')];
        case 'here': return ['here' => trim(file_get_contents('data.txt'))];
        case 'nothing': return null;
        case 'object': return (object) ['b' => 1];
        case 'bag': return new Bag();
        case 'text': return 'text';
        case 'error': return ['error' => 'no luck'];
        case 'throw': throw new Exception('boom');
        case 'bytes': return ['x' => "\xff"];
        case 'exit': exit(3);
        case 'extensions': return ['extensions' => get_loaded_extensions()];
    }
    return $args;
}
function other(array $args): array { return ['other' => true]; }
`

const noDictionary = "The action did not return a dictionary or array."

func TestPHP(t *testing.T) {
	tiers(t, func(t *testing.T, d *process.Driver) {
		a := interpreted(t, "php:8.1", "index.php", codePHP)
		a.driver, a.files["data.txt"] = d, "data"
		h := a.boot(t)
		h.expect(t, `{"do":"say"}`, `{"a":[1,"ü",null]}`)
		if got, want := h.printed(), "stdout: said\nstderr: aside\n"; sorted(got) != sorted(want) {
			t.Errorf("printed %q", got)
		}
		h.expect(t, `{"do":"env"}`, `{"id":"id","name":"/guest/hello"}`)
		h.expect(t, `{"do":"here"}`, `{"here":"data"}`)
		h.expect(t, `{"do":"nothing"}`, `{}`)
		h.expect(t, `{"do":"object"}`, `{"b":1}`)
		h.expect(t, `{"do":"bag"}`, `{"bag":true}`)
		h.expect(t, `{"x":{"y":[1.5,"\n"]}}`, `{"x":{"y":[1.5,"\n"]}}`)
		h.expect(t, `[]`, `{}`)
		h.fails(t, `{"do":"error"}`, rouse.StatusFailed, application, "no luck", `{"error":"no luck"}`)
		h.printed()
		for do, says := range map[string]string{"text": `has type "string"`, "throw": "Exception: boom in ", "bytes": "Malformed UTF-8"} {
			h.fails(t, `{"do":"`+do+`"}`, rouse.StatusFailed, developer, noDictionary, "")
			if got := h.printed(); !strings.Contains(got, says) {
				t.Errorf("%s printed %q", do, got)
			}
		}
		// As many as the host's own has.
		count, err := exec.CommandContext(t.Context(), "php", "-r", "echo count(get_loaded_extensions());").Output()
		var loaded struct{ Extensions []string }
		if answer := h.ask(t, `{"do":"extensions"}`); err != nil || json.Unmarshal(answer.Result, &loaded) != nil || strconv.Itoa(len(loaded.Extensions)) != string(count) {
			t.Errorf("%s, not %s: %v", answer.Result, count, err)
		}
		if answer := h.ask(t, `{"do":"exit"}`); answer.Status != rouse.StatusCrashed {
			t.Errorf("%+v", answer)
		}
	})
	boots(t, "php:8.1", "index.php", map[string]string{"<?php function": "Cannot start action", "<?php function mine() {}": "Cannot start action"})
	a := interpreted(t, "php:7.3", "index.php", "<?php\nfunction other(array $args) { return ['by' => Part\\name()]; }\n")
	a.function.Handler, a.files["vendor/autoload.php"] = "other", "<?php\nnamespace Part;\nfunction name() { return 'vendor'; }\n"
	a.boot(t).expect(t, `{}`, `{"by":"vendor"}`)
}

const codeRuby = `
def deep(n)
  deep(n + 1)
end

def main(args)
  return [1, { 'b' => args }] if args.is_a?(Array)
  case args['do']
  when 'say' then puts 'said'; warn 'aside'; { 'a' => [1, 'ü', nil] }
  when 'env' then { 'id' => ENV['__OW_ACTIVATION_ID'], 'name' => ENV['__OW_ACTION_NAME'] }
  when 'here' then { here: File.read('data.txt') }
  when 'text' then 'text'
  when 'error' then { error: 'no luck' }
  when 'throw' then raise ArgumentError, 'boom'
  when 'deep' then deep(0)
  when 'exit' then exit 3
  else args
  end
end
`

func TestRuby(t *testing.T) {
	tiers(t, func(t *testing.T, d *process.Driver) {
		a := interpreted(t, "ruby:2.5", "main.rb", codeRuby)
		a.driver, a.files["data.txt"] = d, "data"
		h := a.boot(t)
		h.expect(t, `{"do":"say"}`, `{"a":[1,"ü",null]}`)
		if got, want := h.printed(), "stdout: said\nstderr: aside\n"; sorted(got) != sorted(want) {
			t.Errorf("printed %q", got)
		}
		h.expect(t, `{"do":"env"}`, `{"id":"id","name":"/guest/hello"}`)
		h.expect(t, `{"do":"here"}`, `{"here":"data"}`)
		h.expect(t, `{"x":{"y":[1.5,"\n"]}}`, `{"x":{"y":[1.5,"\n"]}}`)
		h.expect(t, `["z"]`, `[1,{"b":["z"]}]`)
		h.fails(t, `{"do":"error"}`, rouse.StatusFailed, application, "no luck", `{"error":"no luck"}`)
		h.printed()
		h.fails(t, `{"do":"throw"}`, rouse.StatusFailed, application, "boom", `{"error":"boom"}`)
		if got := h.printed(); !strings.Contains(got, "boom (ArgumentError)") {
			t.Errorf("printed %q", got)
		}
		h.fails(t, `{"do":"deep"}`, rouse.StatusFailed, application, "stack level too deep", `{"error":"stack level too deep"}`)
		h.fails(t, `{"do":"text"}`, rouse.StatusFailed, developer, noDictionary, "")
		h.printed()
		if answer := h.ask(t, `{"do":"exit"}`); answer.Status != rouse.StatusCrashed {
			t.Errorf("%+v", answer)
		}
	})
	boots(t, "ruby:2.5", "main.rb", map[string]string{"def main(": "Cannot start action", "def mine; end": "Cannot start action"})
}

// boots tries code that can't be made ready.
func boots(t *testing.T, kind, file string, codes map[string]string) {
	t.Helper()
	for code, want := range codes {
		if _, err := interpreted(t, kind, file, code).try(t); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", code, err)
		}
	}
	if _, err := interpreted(t, kind, "elsewhere/"+file, "").try(t); err == nil || !strings.Contains(err.Error(), " at the root.") {
		t.Errorf("without its file: %v", err)
	}
}
