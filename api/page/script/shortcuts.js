// Keys of one letter, as on-call engineers know them from elsewhere: none while one types or a dialog is open.

/** `commandOf(key)` gives what a key does, or undefined. */
export function bindKeys(commandOf) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, textarea, select, dialog")) return;
    const command = commandOf(event.key);
    if (!command) return;
    event.preventDefault();
    command();
  });
}
