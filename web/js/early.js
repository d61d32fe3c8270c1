// Runs before the first paint (a plain script in the head), so that neither language nor colours flicker: the choices
// made earlier, else what the browser asks for.
(() => {
  const root = document.documentElement;
  const stored = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };
  const wanted = stored('lookalike.language') ?? (navigator.languages ?? [navigator.language])
    .map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === 'zh' || tag === 'en');
  root.lang = wanted === 'zh' ? 'zh-CN' : 'en';
  const theme = stored('lookalike.theme');
  if (theme === 'light' || theme === 'dark') {
    root.dataset.theme = theme;
  }
})();
