import { useEffect } from 'react';

export interface Shortcut {
  /** `g j` for one key after the other, `mod+k` for Ctrl or Command, else a single key. */
  keys: string;
  run: () => void;
}

/** The second key of a sequence must come within this. */
const SEQUENCE_MS = 1_200;

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable ||
      target.closest('input, textarea, select, [role="textbox"], [role="combobox"]') !== null)
  );
}

/** Listens for shortcuts while the component is shown. Single keys are left alone while someone types. */
export function useShortcuts(shortcuts: readonly Shortcut[]) {
  useEffect(() => {
    let first: { key: string; at: number } | undefined;
    function onKey(event: KeyboardEvent) {
      if (event.defaultPrevented || event.isComposing) return;
      const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const mod = event.ctrlKey || event.metaKey;
      if (mod) {
        const hit = shortcuts.find((shortcut) => shortcut.keys === `mod+${pressed}`);
        if (hit) {
          event.preventDefault();
          hit.run();
        }
        return;
      }
      if (event.altKey || isTyping(event.target) || document.querySelector('[data-modal-content]')) return;
      const sequence = first && event.timeStamp - first.at < SEQUENCE_MS ? `${first.key} ${pressed}` : undefined;
      first = undefined;
      const hit =
        shortcuts.find((shortcut) => shortcut.keys === sequence) ??
        shortcuts.find((shortcut) => shortcut.keys === pressed);
      if (hit) {
        event.preventDefault();
        hit.run();
      } else if (shortcuts.some((shortcut) => shortcut.keys.startsWith(`${pressed} `))) {
        first = { key: pressed, at: event.timeStamp };
      }
    }
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [shortcuts]);
}
