// Where we are, as a signal: the History API below the base path; every filter is in the URL.
import { signal } from '@preact/signals'

const base = document.querySelector('meta[name=goclaw-base]').content
const HOME = 'chat'

export const route = signal(read())

function read() {
  const [page, id = ''] = location.pathname.slice(base.length).split('/')
  return { page: page && page !== 'index.html' ? page : HOME, id: decodeURIComponent(id), query: Object.fromEntries(new URLSearchParams(location.search)) }
}

// `id` names one thing of the page: /ui/runs/0193….
export function href(page, query = {}, id = '') {
  const kept = Object.entries(query).filter(([, value]) => value !== '' && value != null && value !== false)
  const search = new URLSearchParams(kept).toString()
  return `${base}${page}${id && `/${encodeURIComponent(id)}`}${search && `?${search}`}`
}

export function go(page, query, id) {
  history.pushState(null, '', href(page, query, id))
  route.value = read()
}

// Changes the query of this page without a step in the history (typing in a filter is not a journey).
export function refine(query) {
  const now = route.value
  history.replaceState(null, '', href(now.page, { ...now.query, ...query }, now.id))
  route.value = read()
}

addEventListener('popstate', () => (route.value = read()))
addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href]')
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
  if (!link || !plain || event.defaultPrevented || link.target || !link.pathname.startsWith(base)) return
  if (link.origin !== location.origin || link.hash) return
  event.preventDefault()
  history.pushState(null, '', link.href)
  route.value = read()
})
