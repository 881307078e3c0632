// Texts in the user's language. Components that call t() render again when the language changes.
import { signal } from '@preact/signals'

export const LANGUAGES = { en: 'English', vi: 'Tiếng Việt', zh: '中文' }
export const language = signal('en')
const texts = signal({})
let fallback = {}

const load = async (code) => (await fetch(new URL(`../../i18n/${code}.json`, import.meta.url))).json()

export async function startLanguage() {
  const wanted = [localStorage.getItem('goclaw.language'), ...navigator.languages.map((tag) => tag.slice(0, 2))]
  fallback = await load('en')
  await useLanguage(wanted.find((code) => code in LANGUAGES) ?? 'en')
}

export async function useLanguage(code) {
  texts.value = code === 'en' ? fallback : await load(code)
  language.value = code
  document.documentElement.lang = code
}

export function chooseLanguage(code) {
  localStorage.setItem('goclaw.language', code)
  return useLanguage(code)
}

// A formatter is dear to make and cheap to use: `make(language)` is called once for each.
export function perLanguage(make) {
  const made = new Map()
  return () => {
    const code = language.value
    if (!made.has(code)) made.set(code, make(code))
    return made.get(code)
  }
}

const plurals = perLanguage((code) => new Intl.PluralRules(code))

// A key with plural forms is stored as key.one / key.other and picked by `values.n`.
export function t(key, values = {}) {
  const form = 'n' in values ? `.${plurals().select(values.n)}` : ''
  const text = find(key + form) ?? find(`${key}.other`) ?? find(key) ?? key
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === 'number' ? number(values[name]) : values[name]))
}

const find = (key) => texts.value[key] ?? fallback[key]

const numbers = perLanguage((code) => new Intl.NumberFormat(code))
export const number = (n) => numbers().format(n)
