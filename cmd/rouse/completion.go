package main

import "github.com/spf13/cobra"

func completionCommand(a *app) *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that teaches a shell to complete commands and functions' names",
		Example: `  rouse completion bash > /etc/bash_completion.d/rouse
  rouse completion zsh > "${fpath[1]}/_rouse"
  rouse completion fish > ~/.config/fish/completions/rouse.fish
  source <(rouse completion bash)`,
		Args:      exactly("SHELL"),
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			switch root := c.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			}
			return usage(c, "there is no completion for %q; there is bash, zsh and fish", args[0])
		},
	}
}
