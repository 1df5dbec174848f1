import { defineWords } from '#/i18n';

export const signInWords = defineWords(
  'sign-in',
  {
    title: 'Sign in',
    name: 'Name',
    password: 'Password',
    submit: 'Sign in',
    wrong: 'Name or password is wrong.',
    too_many: 'Too many failed attempts. Try again in {{seconds}} s.',
    too_many_unknown: 'Too many failed attempts. Wait a little and try again.',
    code_used_up: 'This sign-in link was used already or is too old.',
    signed_out: 'You were signed out. Sign in to go on where you were.',
    motto: 'Rings every job on time.',
    show: 'Show the password',
  },
  {
    title: '登录',
    name: '用户名',
    password: '密码',
    submit: '登录',
    wrong: '用户名或密码错误。',
    too_many: '失败次数过多，请在 {{seconds}} 秒后重试。',
    too_many_unknown: '失败次数过多，请稍后重试。',
    code_used_up: '此登录链接已被使用或已过期。',
    signed_out: '您已退出登录，登录后回到原来的页面。',
    motto: '让每个任务准时响起。',
    show: '显示密码',
  },
);
