// Light and dark: what the system says, unless the button chose otherwise. Choosing what the system says anyway
// forgets the choice, so that the page follows the system again.

const STORED = 'lookalike.theme';
const root = document.documentElement;
const systemDark = matchMedia('(prefers-color-scheme: dark)');

const system = () => (systemDark.matches ? 'dark' : 'light');

export function startTheme(button) {
  button.addEventListener('click', () => {
    const next = (root.dataset.theme ?? system()) === 'dark' ? 'light' : 'dark';
    const followsSystem = next === system();
    if (followsSystem) {
      delete root.dataset.theme;
    } else {
      root.dataset.theme = next;
    }
    try {
      if (followsSystem) {
        localStorage.removeItem(STORED);
      } else {
        localStorage.setItem(STORED, next);
      }
    } catch {
      // Storage is switched off: the choice lasts until the page is left.
    }
  });
}
