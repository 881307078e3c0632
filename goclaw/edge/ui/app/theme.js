// Sets the chosen theme before the first paint; a module would run too late (dashboard.md §14).
{
  const theme = localStorage.getItem('goclaw.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
}
